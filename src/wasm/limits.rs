//! What files and calls may ask for at most.

use wasm_bindgen::prelude::*;

use super::js_error;

/// What files and calls may ask for at most; docs/limits.md has them by name.
#[wasm_bindgen]
#[derive(Default)]
pub struct Limits(pub(super) crate::Limits);

#[wasm_bindgen]
impl Limits {
    /// The default ones.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises or lowers one of them.
    ///
    /// Throws an `Error` whose `code` is `invalid_input` where there is none of that name.
    pub fn set(&mut self, name: &str, most: f64) -> Result<(), JsValue> {
        self.0.set(name, most as u64).map_err(js_error)
    }
}
