//! What goes wrong on a GPU is told to callbacks, some time later. Here it waits for the next call, which it fails.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// What has happened.
#[derive(Default)]
pub struct Faults(Mutex<State>);

#[derive(Default)]
struct State {
    /// Why the device is gone: for good.
    lost: Option<String>,
    /// The first error since the last check.
    error: Option<(ErrorKind, String)>,
}

impl Faults {
    /// Notes what goes wrong on this device.
    pub fn watch(device: &wgpu::Device) -> Arc<Self> {
        let faults = Arc::new(Self::default());
        let lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |_, message| lost.note_loss(message));
        let failed = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| failed.note(&error)));
        faults
    }

    /// Whether the device is gone.
    pub fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// The error that has happened since the last check, if one has.
    ///
    /// # Errors
    /// `gpu_lost` from the loss on; `low_memory`; `internal` for an invalid call or kernel.
    pub fn check(&self) -> Result<()> {
        let mut state = self.state();
        let error = state.error.take();
        if let Some(why) = &state.lost {
            return Err(lost(why));
        }
        match error {
            Some((kind, message)) => Err(Error::new(kind, message)),
            None => Ok(()),
        }
    }

    fn note_loss(&self, message: String) {
        self.state().lost.get_or_insert(message);
    }

    fn note(&self, error: &wgpu::Error) {
        let (kind, message) = match error {
            wgpu::Error::OutOfMemory { .. } => (
                ErrorKind::LowMemory,
                "the GPU has not enough memory; use fewer inputs at a time, a smaller model, or the CPU".into(),
            ),
            other => (ErrorKind::Internal, format!("the GPU refused a call: {other}")),
        };
        self.state().error.get_or_insert((kind, message));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(why: &str) -> Error {
    let why = if why.is_empty() { "no reason is given" } else { why };
    let message =
        format!("the GPU is gone ({why}); load the model again, on a new device or on the CPU");
    Error::new(ErrorKind::GpuLost, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_told_once_and_a_loss_for_good() {
        let faults = Faults::default();
        assert!(faults.check().is_ok());
        faults.note(&wgpu::Error::OutOfMemory { source: "no room".into() });
        let description = "a buffer is invalid, for there was no room".to_owned();
        faults.note(&wgpu::Error::Validation { source: "invalid".into(), description });
        assert_eq!(faults.check().unwrap_err().kind(), ErrorKind::LowMemory);
        assert!(faults.check().is_ok(), "a smaller batch may do");
        faults.note_loss("the driver was reset".into());
        for _ in 0..2 {
            let error = faults.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::GpuLost);
            assert!(error.to_string().contains("the driver was reset"));
        }
    }
}
