//! Loads a GGUF file as it arrives, and computes checksums.

use js_sys::Error as JsError;
use sha2::Digest;
use wasm_bindgen::prelude::*;

use super::encoder::ClipEncoder;
use super::limits::Limits;
use super::{flat, js_error};
use crate::model::config::Tower;

/// Loads a GGUF file as it arrives.
#[wasm_bindgen]
pub struct ModelLoader(pub(super) crate::ModelLoader);

#[wasm_bindgen]
impl ModelLoader {
    /// A loader for the given towers, `"text"` or `"vision"`; without `towers`, for all towers that the
    /// file has.
    #[wasm_bindgen(constructor)]
    pub fn new(limits: &Limits, towers: Option<Vec<String>>) -> Self {
        Self(loader(limits, towers))
    }

    /// Adds the next bytes of the file.
    ///
    /// Throws an `Error` with a `code` as soon as the bytes are found to be invalid: `not_a_model`,
    /// `unsupported_model`, `malformed_model` or `missing_tensor`; `missing_tower` if the file lacks a
    /// requested tower; `limit_exceeded`; `low_memory`; `internal` if a tensor's bytes are out of order.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), JsValue> {
        self.0.push(chunk).map_err(js_error)
    }

    /// Sets the position in the file, in bytes, at which the next chunk starts. It must be at the header's
    /// end or after it.
    pub fn seek(&mut self, position: f64) {
        self.0.seek(position as u64);
    }

    /// The towers that will be loaded; `undefined` before the header is complete.
    #[wasm_bindgen(getter)]
    pub fn towers(&self) -> Option<Vec<String>> {
        Some(self.0.towers()?.into_iter().map(|tower| tower.name().into()).collect())
    }

    /// The parts of the file that are still needed, for one tower or for all, in file order, in bytes as
    /// `from, to, from, to, …`; each `to` is exclusive. `undefined` until the header is complete.
    pub fn wanted(&self, of: Option<String>) -> Option<Vec<f64>> {
        self.0.wanted(of.as_deref().and_then(tower)).map(flat)
    }

    /// Size of the whole file in bytes; `undefined` until the header is complete.
    #[wasm_bindgen(getter, js_name = fileSize)]
    pub fn file_size(&self) -> Option<f64> {
        self.0.file_size().map(|size| size as f64)
    }

    /// Bytes of memory that the weights will take; `undefined` until the header is complete.
    #[wasm_bindgen(getter, js_name = residentSize)]
    pub fn resident_size(&self) -> Option<f64> {
        self.0.resident_size().map(|size| size as f64)
    }

    /// Returns an encoder with one tower, `"text"` or `"vision"`; the loader continues with the other
    /// tower.
    ///
    /// Throws an `Error` with the code `truncated_model` if bytes are missing, or `missing_tower` if the
    /// loader does not have the tower or has already returned it.
    #[wasm_bindgen(js_name = finishTower)]
    pub fn finish_tower(&mut self, name: &str) -> Result<ClipEncoder, JsValue> {
        let Some(tower) = tower(name) else { return Err(JsError::new("no such tower").into()) };
        self.0.finish_tower(tower).map(ClipEncoder).map_err(js_error)
    }

    /// Returns the encoder with all towers that have not been returned yet, and frees the loader.
    ///
    /// Throws an `Error` with the code `truncated_model` if bytes are missing.
    pub fn finish(self) -> Result<ClipEncoder, JsValue> {
        self.0.finish().map(ClipEncoder).map_err(js_error)
    }
}

/// The SHA-256 checksum of bytes that arrive in chunks.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// The checksum of no bytes yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// The checksum in lower-case hexadecimal digits. Frees the object.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A loader for these towers, or for all that the file has.
pub(super) fn loader(limits: &Limits, towers: Option<Vec<String>>) -> crate::ModelLoader {
    let loader = match towers {
        Some(names) => crate::ModelLoader::of_towers(&towers_of(&names)),
        None => crate::ModelLoader::new(),
    };
    loader.with_limits(limits.0)
}

/// The towers with these names.
pub(super) fn towers_of(names: &[String]) -> Vec<Tower> {
    names.iter().filter_map(|name| tower(name)).collect()
}

fn tower(name: &str) -> Option<Tower> {
    [Tower::Text, Tower::Vision].into_iter().find(|tower| tower.name() == name)
}
