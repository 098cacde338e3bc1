//! The encoder, and the description of its model.

use js_sys::{Error as JsError, Float32Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::js_error;
use crate::embedding::Embedding;

#[wasm_bindgen(typescript_custom_section)]
const MODEL_INFO: &str = r#"
/** A model's description. A value is `null` if the file lacks the tower it belongs to. */
export interface ModelInfo {
    name: string | null;
    /** What kind of model it is. A SigLIP's cosines mean something else than a CLIP's: see `logitBias`. */
    family: "clip" | "siglip";
    /** The type most weights are stored in: "q8_0", "f16", … */
    type: string;
    /** The towers that are loaded. */
    towers: ("text" | "vision")[];
    /** The number of components in an embedding. */
    embeddingDimension: number;
    /** The edge length of the square image that the model reads, in pixels. */
    imageSize: number | null;
    patchSize: number | null;
    /** The most tokens of a text, including start and end. */
    contextLength: number | null;
    vocabularySize: number | null;
    activation: "gelu" | "quick_gelu" | "gelu_pytorch_tanh";
    /** The factor for cosines before a softmax: 100 if the file does not state it. */
    logitScale: number;
    /**
     * Of a SigLIP, what is added to a scaled cosine: the sigmoid of the sum is the probability that a text and an image
     * belong together, whatever other texts there are. `null` for a CLIP, and if the file does not state it.
     */
    logitBias: number | null;
    /** How an image is prepared, in this order: resize, crop, rescale, normalise. */
    preprocessing: Preprocessing | null;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// A model's description; see the TypeScript interface above.
    #[wasm_bindgen(typescript_type = "ModelInfo")]
    pub type ModelInfo;
}

#[wasm_bindgen]
extern "C" {
    /// For each input its embedding, or its error.
    #[wasm_bindgen(typescript_type = "(Float32Array | Error)[]")]
    pub type EmbeddingList;
}

/// A CLIP model that encodes images and texts as vectors in the same space.
#[wasm_bindgen]
pub struct ClipEncoder(pub(super) crate::ClipEncoder);

#[wasm_bindgen]
impl ClipEncoder {
    /// The embeddings of texts, each `embeddingDimension` numbers, with unit length if `normalize` is true. A text
    /// longer than `contextLength` tokens is truncated.
    ///
    /// Throws an `Error` with a `code`: `missing_tower` for a vision-only model. For a text that fails, an `Error`
    /// takes the place of its embedding: `limit_exceeded`, `low_memory`, or `malformed_model` if the weights give a
    /// vector that is zero or not finite.
    #[wasm_bindgen(js_name = embedTexts)]
    pub fn embed_texts(
        &self,
        texts: Vec<String>,
        normalize: bool,
    ) -> Result<EmbeddingList, JsValue> {
        js_embeddings(self.0.embed_texts(&texts, normalize))
    }

    /// The tokens of a text.
    ///
    /// Throws an `Error` with a `code`: `limit_exceeded`, `low_memory`, or `missing_tower` for a
    /// vision-only model.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, JsValue> {
        self.0.tokenize(text).map(Tokens).map_err(js_error)
    }

    /// The embeddings of pictures that the pictures module has prepared by this model's `info.preprocessing`:
    /// `[S, S, 3]`, RGB, each.
    ///
    /// Throws an `Error` with a `code`: `missing_tower` for a text-only model. For a picture that fails, an `Error`
    /// takes the place of its embedding: `invalid_input`, `low_memory`, or `malformed_model` if the weights give a
    /// vector that is not finite.
    #[wasm_bindgen(js_name = embedSquares)]
    pub fn embed_squares(
        &self,
        pictures: Vec<Uint8Array>,
        normalize: bool,
    ) -> Result<EmbeddingList, JsValue> {
        let pictures: Vec<_> = pictures.iter().map(Uint8Array::to_vec).collect();
        js_embeddings(self.0.embed_squares(&pictures, normalize))
    }

    /// Takes over the towers of another encoder, which must be loaded from the same file, and frees that
    /// encoder.
    ///
    /// Throws an `Error` with the code `malformed_model` if the two do not match.
    pub fn add(&mut self, other: ClipEncoder) -> Result<(), JsValue> {
        self.0.add(other.0).map_err(js_error)
    }

    /// The model's description.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> Result<ModelInfo, JsValue> {
        let json =
            serde_json::to_string(&self.0.info()).map_err(|e| JsError::new(&e.to_string()))?;
        Ok(js_sys::JSON::parse(&json)?.unchecked_into())
    }
}

/// The tokens of a text.
#[wasm_bindgen]
pub struct Tokens(crate::model::tokens::Tokens);

#[wasm_bindgen]
impl Tokens {
    /// Every id, including start and end, without padding, truncated to the context's length.
    #[wasm_bindgen(getter)]
    pub fn ids(&self) -> Vec<u32> {
        self.0.ids().to_vec()
    }

    /// Number of tokens of the whole, untruncated text, including start and end.
    #[wasm_bindgen(getter)]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether the ids are truncated.
    #[wasm_bindgen(getter)]
    pub fn truncated(&self) -> bool {
        self.0.truncated()
    }
}

pub(super) fn js_embeddings(
    embeddings: crate::error::Result<Vec<crate::error::Result<Embedding>>>,
) -> Result<EmbeddingList, JsValue> {
    let list = js_sys::Array::new();
    for embedding in embeddings.map_err(js_error)? {
        list.push(&match embedding {
            Ok(embedding) => Float32Array::from(embedding.values()).into(),
            Err(error) => js_error(error),
        });
    }
    Ok(list.unchecked_into())
}
