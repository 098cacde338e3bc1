//! What computes: the processor, or a GPU.

use std::path::Path;

use clip_wasm::error::Result;
use clip_wasm::{ClipEncoder, Limits};

/// What the embeddings are computed on.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Device {
    /// A GPU if there is one that computes right, otherwise the processor.
    Auto,
    /// The processor.
    Cpu,
    /// A GPU; one that is only simulated by the processor too.
    Gpu,
}

impl Device {
    /// The encoder of a GGUF file, on this device.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::open`]; for [`Device::Gpu`], `gpu_unavailable` if there is none, or if it gives wrong
    /// vectors.
    pub fn open(self, model: &Path, limits: &Limits) -> Result<ClipEncoder> {
        match self {
            Self::Cpu => ClipEncoder::open_within(model, *limits),
            Self::Gpu => on_gpu(model, limits, true),
            Self::Auto => on_gpu(model, limits, false).or_else(|error| {
                if !is_of_gpu(&error) {
                    return Err(error);
                }
                eprintln!("computing on the CPU: {error}");
                ClipEncoder::open_within(model, *limits)
            }),
        }
    }
}

#[cfg(feature = "gpu")]
fn on_gpu(model: &Path, limits: &Limits, allow_software: bool) -> Result<ClipEncoder> {
    use clip_wasm::gpu::{Gpu, GpuOptions};

    let gpu = Gpu::request_now(GpuOptions { allow_software, ..Default::default() })?;
    if gpu.is_software() {
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
fn on_gpu(_: &Path, _: &Limits, _: bool) -> Result<ClipEncoder> {
    use clip_wasm::error::{Error, ErrorKind};

    let message =
        "this program is built without the feature `gpu`: install it with `--features gpu`";
    Err(Error::new(ErrorKind::GpuUnavailable, message))
}

/// Whether another device may do better.
fn is_of_gpu(error: &clip_wasm::Error) -> bool {
    use clip_wasm::ErrorKind::{GpuLost, GpuUnavailable, Internal, LowMemory};

    matches!(error.kind(), GpuUnavailable | GpuLost | Internal | LowMemory)
}
