//! What computes: the processor, or a GPU.

use std::path::Path;

use clip_wasm::error::{Error, Result};
use clip_wasm::{ClipEncoder, Limits};

/// What the embeddings are computed on.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Device {
    /// A GPU if there is one that is right and faster, otherwise the processor.
    Auto,
    /// The processor.
    Cpu,
    /// A GPU; one that is only simulated by the processor too.
    Gpu,
}

impl Device {
    /// The encoder of a GGUF file, on this device. The processor has so many threads.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::open`]; for [`Device::Gpu`], `gpu_unavailable` if there is none, or if it gives wrong
    /// vectors.
    pub fn open(self, model: &Path, limits: &Limits, threads: usize) -> Result<ClipEncoder> {
        match self {
            Self::Cpu => ClipEncoder::open_within(model, *limits),
            Self::Gpu => on_gpu(model, limits, None).map_err(|error| match is_of_gpu(&error) {
                true => Error::new(error.kind(), format!("{error}; use --device cpu")),
                false => error,
            }),
            Self::Auto => on_gpu(model, limits, Some(threads)).or_else(|error| {
                if !is_of_gpu(&error) {
                    return Err(error);
                }
                eprintln!("computing on the CPU: {error}");
                ClipEncoder::open_within(model, *limits)
            }),
        }
    }
}

/// With `threads`, only a GPU that is faster than so many of the processor's.
#[cfg(feature = "gpu")]
fn on_gpu(model: &Path, limits: &Limits, threads: Option<usize>) -> Result<ClipEncoder> {
    use clip_wasm::error::ErrorKind;
    use clip_wasm::gpu::{Gpu, GpuOptions, race_now};

    let options = GpuOptions { allow_software: threads.is_none(), ..Default::default() };
    let gpu = Gpu::request_now(options)?;
    if !gpu.is_software() {
        let race = race_now(&gpu)?;
        let on_cpu = race.cpu / threads.map_or(1, |threads| threads as u32);
        if threads.is_some() && race.gpu > on_cpu {
            let message = format!(
                "the GPU {} takes {:.1?} for the products of a picture, the processor {on_cpu:.1?}",
                gpu.name(),
                race.gpu
            );
            return Err(Error::new(ErrorKind::GpuUnavailable, message));
        }
    } else {
        eprintln!(
            "warning: {} is simulated by the processor, and slower than --device cpu",
            gpu.name()
        );
    }
    let encoder = ClipEncoder::open_on_gpu(model, *limits, &gpu)?;
    encoder.check_gpu_now()?;
    eprintln!("computing on {}", gpu.name());
    Ok(encoder)
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: &Path, _: &Limits, _: Option<usize>) -> Result<ClipEncoder> {
    use clip_wasm::error::ErrorKind;

    let message =
        "this program is built without the feature `gpu`: install it with `--features gpu`";
    Err(Error::new(ErrorKind::GpuUnavailable, message))
}

/// Whether another device may do better.
fn is_of_gpu(error: &clip_wasm::Error) -> bool {
    use clip_wasm::ErrorKind::{GpuLost, GpuUnavailable, Internal, LowMemory};

    matches!(error.kind(), GpuUnavailable | GpuLost | Internal | LowMemory)
}
