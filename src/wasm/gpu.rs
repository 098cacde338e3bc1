//! The GPU, and what of the encoder awaits it.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::encoder::{ClipEncoder, EmbeddingList, js_embeddings};
use super::js_error;
use super::limits::Limits;
use super::loader::{ModelLoader, loader};
use crate::gpu::{GpuOptions, Product};

/// How a GPU without a fast dot product of bytes multiplies.
const FLOATS: &str = "f32";

/// A GPU that is ready to compute.
#[wasm_bindgen]
pub struct Gpu(crate::gpu::Gpu);

#[wasm_bindgen]
impl Gpu {
    /// The fastest GPU there is; with `allow_software`, perhaps one that computes on the processor. `products` says how it
    /// shall multiply, if that has been found out before: see the getter of that name.
    ///
    /// Rejects with an `Error` whose code is `gpu_unavailable`, and whose message says why there is none.
    pub async fn open(allow_software: bool, products: Option<String>) -> Result<Gpu, JsValue> {
        let product = match products.as_deref() {
            Some(FLOATS) => Product::Float,
            _ => Product::Dot,
        };
        let options = GpuOptions { allow_software, product, ..Default::default() };
        crate::gpu::Gpu::request(options).await.map(Self).map_err(js_error)
    }

    /// How it multiplies 8-bit weights: `"packed bytes"` or `"f32"`.
    #[wasm_bindgen(getter)]
    pub fn products(&self) -> String {
        match self.0.product() {
            Product::Dot => "packed bytes",
            Product::Float => FLOATS,
        }
        .into()
    }

    /// Milliseconds that the products of a picture take: on the GPU, and on one thread of the processor. Takes some 50 ms.
    /// From then on, the GPU multiplies in the way that was faster.
    pub async fn race(&self) -> Result<Vec<f64>, JsValue> {
        let race = crate::gpu::race(&self.0).await.map_err(js_error)?;
        Ok([race.gpu, race.cpu].map(|time| 1000.0 * time.as_secs_f64()).to_vec())
    }

    /// Gives all its memory back. Encoders on it fail with `gpu_lost` from then on.
    pub fn destroy(&self) {
        self.0.destroy();
    }
}

#[wasm_bindgen]
impl ModelLoader {
    /// A loader whose weights go to the GPU as they arrive; otherwise as the constructor's.
    #[wasm_bindgen(js_name = ontoGpu)]
    pub fn onto_gpu(limits: &Limits, gpu: &Gpu, towers: Option<Vec<String>>) -> ModelLoader {
        Self(loader(limits, towers).on_gpu(&gpu.0))
    }
}

#[wasm_bindgen]
impl ClipEncoder {
    /// Like `embedTexts`, of an encoder on a GPU. For a text of which the GPU failed, the error is `gpu_lost`.
    #[wasm_bindgen(js_name = embedTextsAsync)]
    pub async fn embed_texts_async(
        &self,
        texts: Vec<String>,
        normalize: bool,
    ) -> Result<EmbeddingList, JsValue> {
        js_embeddings(self.0.embed_texts_async(&texts, normalize).await)
    }

    /// Like `embedSquares`, of an encoder on a GPU. For a picture of which the GPU failed, the error is `gpu_lost`.
    #[wasm_bindgen(js_name = embedSquaresAsync)]
    pub async fn embed_squares_async(
        &self,
        pictures: Vec<Uint8Array>,
        normalize: bool,
    ) -> Result<EmbeddingList, JsValue> {
        let pictures: Vec<_> = pictures.iter().map(Uint8Array::to_vec).collect();
        js_embeddings(self.0.embed_squares_async(&pictures, normalize).await)
    }

    /// Computes a known picture and a known text three times each, and compares them with the processor's vectors, which
    /// were computed while the model was loading. Resolves with the least cosine.
    ///
    /// Rejects with an `Error` whose code is `gpu_unavailable` if a vector is wrong.
    #[wasm_bindgen(js_name = checkGpu)]
    pub async fn check_gpu(&self) -> Result<Option<f64>, JsValue> {
        self.0.check_gpu().await.map_err(js_error)
    }
}
