//! Limits on what files and calls may request.

use wasm_bindgen::prelude::*;

use super::js_error;

/// Limits on what files and calls may request; docs/limits.md lists them by name.
#[wasm_bindgen]
#[derive(Default)]
pub struct Limits(pub(super) crate::Limits);

#[wasm_bindgen]
impl Limits {
    /// The default limits.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limit called `name` to `most`.
    ///
    /// Throws an `Error` with the code `invalid_input` if no limit has this name.
    pub fn set(&mut self, name: &str, most: f64) -> Result<(), JsValue> {
        self.0.set(name, most as u64).map_err(js_error)
    }
}
