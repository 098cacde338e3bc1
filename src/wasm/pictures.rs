//! Image files.

use wasm_bindgen::prelude::*;

/// Whether an image file begins as one of a format that is decoded here.
#[wasm_bindgen(js_name = recognizesImage)]
pub fn recognizes_image(bytes: &[u8]) -> bool {
    crate::decode::recognizes(bytes)
}
