//! What a model's files say about preparing a picture, as it passes from the towers to the pictures.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const PREPROCESSING: &str = r#"
export interface Preprocessing {
    /** The edge of the square that is cut out of the resized image, in pixels. */
    size: number;
    /** Whether the shorter edge is brought to `resizeTo`, the longer one, or both whatever the shape was. */
    resize: "shortest" | "longest" | "squash" | "none";
    /** Width and height, in pixels: of "shortest" the same number twice; `null` of "none". */
    resizeTo: [number, number] | null;
    interpolation: "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
    crop: "center";
    /** The colour of what the resized image does not cover of the square, in levels of 0 to 255. */
    fillColor: [number, number, number];
    /** What a level of 0 to 255 is multiplied by. */
    rescaleFactor: number;
    /** Of red, green and blue, for values that have been rescaled. */
    mean: [number, number, number];
    /** Of red, green and blue, for values that have been rescaled. */
    std: [number, number, number];
}
"#;
