//! Loads a model from disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::ModelLoader;
use crate::encoder::ClipEncoder;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::Gpu;
use crate::limits::Limits;

impl ClipEncoder {
    /// Loads a GGUF file from disk.
    ///
    /// # Errors
    /// `io`, and those of [`ModelLoader`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_within(path, Limits::default())
    }

    /// Loads a GGUF file with limits other than the default ones; they also apply to images and texts.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::open`].
    pub fn open_within(path: impl AsRef<Path>, limits: Limits) -> Result<Self> {
        Self::open_by(path.as_ref(), ModelLoader::new().with_limits(limits))
    }

    /// Loads a GGUF file from disk onto a GPU. [`ClipEncoder::check_gpu_now`] tells whether it computes right.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::open`]; `gpu_unavailable` if the GPU is too small for the model, `gpu_lost`.
    #[cfg(feature = "gpu")]
    pub fn open_on_gpu(path: impl AsRef<Path>, limits: Limits, gpu: &Gpu) -> Result<Self> {
        Self::open_by(path.as_ref(), ModelLoader::new().with_limits(limits).on_gpu(gpu))
    }

    fn open_by(path: &Path, mut loader: ModelLoader) -> Result<Self> {
        let of = |error: Error| error.context(path.display());
        let mut file = File::open(path).map_err(|source| of(source.into()))?;
        let mut chunk = vec![0; 1 << 20];
        loop {
            match file.read(&mut chunk).map_err(|source| of(source.into()))? {
                0 => return loader.finish().map_err(of),
                n => loader.push(&chunk[..n]).map_err(of)?,
            }
        }
    }
}
