//! The methods of [`ClipEncoder`] that await a GPU. On the CPU they compute before they return, as the others do.

use super::ClipEncoder;
use crate::backend::{TextTower, VisionTower};
use crate::batch::await_batches;
use crate::embedding::Embedding;
use crate::error::Result;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::ready;
use crate::gpu::{Gpu, GpuWork};
use crate::model::tokens::Tokens;

impl ClipEncoder {
    /// [`ClipEncoder::embed_squares`], whose results are awaited. Between two submissions to the GPU it can be dropped,
    /// which aborts it.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::embed_squares`]; for each image, `gpu_lost` if the GPU is gone.
    pub async fn embed_squares_async<P: AsRef<[u8]>>(
        &self,
        images: &[P],
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (preprocess, tower) = self.vision()?;
        let squares = images.iter().map(|pixels| preprocess.require_square(pixels.as_ref()));
        let forward = async |images: &[&[u8]]| tower.start(preprocess, images).await;
        let (rows, most) = (|_: &&[u8]| tower.rows(), tower.most_rows());
        Ok(await_batches(squares.collect(), rows, most, forward, normalize).await)
    }

    /// [`ClipEncoder::embed_texts`], whose results are awaited.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::embed_texts`]; for each text, `gpu_lost` if the GPU is gone.
    pub async fn embed_texts_async<T: AsRef<str>>(
        &self,
        texts: &[T],
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (_, tower) = self.text()?;
        let tokens = texts.iter().map(|text| self.tokenize(text.as_ref())).collect();
        let forward = async |texts: &[Tokens]| tower.start(texts).await;
        Ok(await_batches(tokens, TextTower::rows, tower.most_rows(), forward, normalize).await)
    }

    /// Compares the GPU with the CPU: computes a known picture and a known text three times each, and returns the least
    /// cosine to the CPU's vectors, which were computed while the model was loading. `None` if nothing is on a GPU. Call
    /// it after loading, and now and then while the GPU computes: some drivers give wrong numbers without a word.
    ///
    /// # Errors
    /// `gpu_unavailable` if a cosine is below 0.9999; `gpu_lost`, `low_memory`.
    pub async fn check_gpu(&self) -> Result<Option<f64>> {
        self.model.check().await
    }

    /// [`ClipEncoder::check_gpu`] for programs that may wait.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::check_gpu`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn check_gpu_now(&self) -> Result<Option<f64>> {
        ready(self.check_gpu())
    }

    /// How much work a batch of pictures, and one of texts with so many tokens together, is on the GPU.
    #[doc(hidden)]
    pub fn gpu_work(&self, pictures: usize, texts: usize, tokens: usize) -> Result<Vec<GpuWork>> {
        let mut work = Vec::new();
        if let Some(VisionTower::Gpu(tower)) = &self.model.vision {
            work.push(tower.work(pictures)?);
        }
        if let Some(TextTower::Gpu(tower)) = &self.model.text {
            work.push(tower.work(tokens, texts)?);
        }
        Ok(work)
    }

    /// The GPU that it computes on; `None` for the CPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        let text = self.model.text.as_ref().and_then(TextTower::gpu);
        text.or_else(|| self.model.vision.as_ref()?.gpu())
    }
}
