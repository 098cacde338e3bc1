//! A GGUF file as it arrives, and its checksum.

use js_sys::Error as JsError;
use sha2::Digest;
use wasm_bindgen::prelude::*;

use super::encoder::ClipEncoder;
use super::limits::Limits;
use super::{flat, js_error};
use crate::model::config::Tower;

/// Reads a GGUF file as it arrives.
#[wasm_bindgen]
pub struct ModelLoader(crate::ModelLoader);

#[wasm_bindgen]
impl ModelLoader {
    /// A loader of the towers named, `"text"` or `"vision"`; of those that the file has, where none are.
    #[wasm_bindgen(constructor)]
    pub fn new(limits: &Limits, towers: Option<Vec<String>>) -> Self {
        let named = |towers: Vec<String>| towers.iter().filter_map(|name| tower(name)).collect();
        let loader = match towers.map(named) {
            Some::<Vec<_>>(towers) => crate::ModelLoader::of_towers(&towers),
            None => crate::ModelLoader::new(),
        };
        Self(loader.with_limits(limits.0))
    }

    /// Takes the next bytes of the file.
    ///
    /// Throws an `Error` with a `code` as soon as the bytes are wrong: `not_a_model`,
    /// `unsupported_model`, `malformed_model` or `missing_tensor`; `missing_tower` for a tower that the
    /// file has not got; `limit_exceeded`; `low_memory`.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), JsValue> {
        self.0.push(chunk).map_err(js_error)
    }

    /// The next chunk begins at `position` in the file, which is the header's end or beyond.
    pub fn seek(&mut self, position: f64) {
        self.0.seek(position as u64);
    }

    /// The towers that are loaded; `undefined` before the header is complete.
    #[wasm_bindgen(getter)]
    pub fn towers(&self) -> Option<Vec<String>> {
        Some(self.0.towers()?.into_iter().map(|tower| tower.name().into()).collect())
    }

    /// The parts of the file that are yet to come, of one tower or of all, in file order, as
    /// `from, to, from, to, …`; `undefined` before the header is complete.
    pub fn wanted(&self, of: Option<String>) -> Option<Vec<f64>> {
        self.0.wanted(of.as_deref().and_then(tower)).map(flat)
    }

    /// Bytes of a whole file; `undefined` before the header is complete.
    #[wasm_bindgen(getter, js_name = fileSize)]
    pub fn file_size(&self) -> Option<f64> {
        self.0.file_size().map(|size| size as f64)
    }

    /// Bytes of memory that the weights take once they are loaded; `undefined` before the header is complete.
    #[wasm_bindgen(getter, js_name = residentSize)]
    pub fn resident_size(&self) -> Option<f64> {
        self.0.resident_size().map(|size| size as f64)
    }

    /// Gives an encoder with one tower, `"text"` or `"vision"`; the loader goes on with the other.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where bytes are missing.
    #[wasm_bindgen(js_name = finishTower)]
    pub fn finish_tower(&mut self, name: &str) -> Result<ClipEncoder, JsValue> {
        let Some(tower) = tower(name) else { return Err(JsError::new("no such tower").into()) };
        self.0.finish_tower(tower).map(ClipEncoder).map_err(js_error)
    }

    /// Gives the encoder, with all that has not been given yet, and ends the loader.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where bytes are missing.
    pub fn finish(self) -> Result<ClipEncoder, JsValue> {
        self.0.finish().map(ClipEncoder).map_err(js_error)
    }
}

/// The SHA-256 of bytes that come in chunks.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// In hexadecimal, lower case. Ends the hash.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn tower(name: &str) -> Option<Tower> {
    [Tower::Text, Tower::Vision].into_iter().find(|tower| tower.name() == name)
}
