//! Results on their way back from the GPU.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::device::Gpu;
use crate::error::{Error, ErrorKind, Result};

/// Resolves when a buffer is mapped, and everything submitted before it is done. Natively the first poll waits for
/// that; in a browser, which calls back by itself, polling never waits.
struct Mapped<'a> {
    gpu: &'a Gpu,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl<'a> Mapped<'a> {
    /// Starts to map the first `bytes` of a buffer for reading.
    fn new(gpu: &'a Gpu, buffer: &wgpu::Buffer, bytes: u64) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let done = Arc::clone(&state);
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            let mut state = done.lock().unwrap_or_else(PoisonError::into_inner);
            state.result = Some(result);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        });
        Self { gpu, state }
    }
}

impl Future for Mapped<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context) -> Poll<Result<()>> {
        // In a browser this does nothing. An error here is a lost device, which the result tells too.
        let _ = self.gpu.device().poll(wgpu::PollType::wait_indefinitely());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.result.take() {
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(result) => Poll::Ready(self.gpu.check().and_then(|()| result.map_err(lost))),
        }
    }
}

/// The first `bytes` of a buffer, which hold f32, when everything submitted before is done.
///
/// # Errors
/// `gpu_lost`; those that the device has noted since.
pub async fn read(gpu: &Gpu, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<f32>> {
    Mapped::new(gpu, buffer, bytes).await?;
    let values = {
        let mapped = buffer.get_mapped_range(0..bytes).map_err(lost)?;
        let (values, _) = mapped.as_chunks::<4>();
        values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    buffer.unmap();
    Ok(values)
}

fn lost(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::GpuLost, "the GPU did not return its results").with_source(error)
}

/// The result of a future that waits for nothing but the GPU.
///
/// # Errors
/// `internal` in a browser, where nothing may wait.
pub(crate) fn ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => return result,
            Poll::Pending if cfg!(target_arch = "wasm32") => {
                let message = "a GPU's results are not there at once in a browser: await them";
                return Err(Error::new(ErrorKind::Internal, message));
            }
            // The GPU is done, and another thread is about to call back.
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
