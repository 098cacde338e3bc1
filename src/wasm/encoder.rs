//! The encoder, and what it tells of its model.

use js_sys::{Error as JsError, Float32Array};
use wasm_bindgen::prelude::*;

use super::js_error;
use crate::embedding::Embedding;

#[wasm_bindgen(typescript_custom_section)]
const MODEL_INFO: &str = r#"
/** What a model is. Absent values belong to a tower that the file does not have. */
export interface ModelInfo {
    name: string | null;
    /** The type most weights are stored in: "q8_0", "f16", … */
    type: string;
    /** Those that are loaded. */
    towers: ("text" | "vision")[];
    /** The length of an embedding. */
    embeddingDimension: number;
    /** The edge of the square that images are brought to, in pixels. */
    imageSize: number | null;
    patchSize: number | null;
    /** In tokens, start and end included. */
    contextLength: number | null;
    vocabularySize: number | null;
    activation: "gelu" | "quick_gelu";
    /** What cosines are multiplied by before a softmax: 100 where the file does not tell. */
    logitScale: number;
    /** What is done to an image, in this order: resize, crop, rescale, normalise. */
    preprocessing: Preprocessing | null;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// What a model is, as the TypeScript above has it.
    #[wasm_bindgen(typescript_type = "ModelInfo")]
    pub type ModelInfo;
}

/// A CLIP model that turns images and texts into vectors of one space.
#[wasm_bindgen]
pub struct ClipEncoder(pub(super) crate::ClipEncoder);

#[wasm_bindgen]
impl ClipEncoder {
    /// The embedding of a text; of unit length if `normalize` says so.
    #[wasm_bindgen(js_name = embedText)]
    pub fn embed_text(&self, text: &str, normalize: bool) -> Result<Float32Array, JsValue> {
        js_embedding(self.0.embed_text(text, normalize))
    }

    /// The tokens of a text.
    ///
    /// Throws an `Error` whose `code` is `missing_tower` for a vision-only model.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, JsValue> {
        self.0.tokenize(text).map(Tokens).map_err(js_error)
    }

    /// The embedding of a picture that the pictures module has prepared by this model's `info.preprocessing`:
    /// `[S, S, 3]`, RGB.
    ///
    /// Throws an `Error` with a `code`: `invalid_input`, `low_memory` or `missing_tower`.
    #[wasm_bindgen(js_name = embedPixels)]
    pub fn embed_pixels(&self, pixels: &[u8], normalize: bool) -> Result<Float32Array, JsValue> {
        js_embedding(self.0.embed_square(pixels, normalize))
    }

    /// Takes over the towers of another encoder, loaded from the same file, and ends it.
    ///
    /// Throws an `Error` whose `code` is `malformed_model` where the two do not fit.
    pub fn add(&mut self, other: ClipEncoder) -> Result<(), JsValue> {
        self.0.add(other.0).map_err(js_error)
    }

    /// What the model is.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> Result<ModelInfo, JsValue> {
        let json =
            serde_json::to_string(&self.0.info()).map_err(|e| JsError::new(&e.to_string()))?;
        Ok(js_sys::JSON::parse(&json)?.unchecked_into())
    }
}

/// The tokens of a text.
#[wasm_bindgen]
pub struct Tokens(crate::model::clip::tokenizer::Tokens);

#[wasm_bindgen]
impl Tokens {
    /// Every id, start and end included, unpadded, cut off at the context's length.
    #[wasm_bindgen(getter)]
    pub fn ids(&self) -> Vec<u32> {
        self.0.ids().to_vec()
    }

    /// How many the whole text has, start and end included.
    #[wasm_bindgen(getter)]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether the text is cut off.
    #[wasm_bindgen(getter)]
    pub fn truncated(&self) -> bool {
        self.0.truncated()
    }
}

fn js_embedding(embedding: crate::error::Result<Embedding>) -> Result<Float32Array, JsValue> {
    embedding.map(|embedding| Float32Array::from(embedding.values())).map_err(js_error)
}
