//! The TypeScript type `Preprocessing`: the towers' module returns it, the pictures' module takes it.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const PREPROCESSING: &str = r#"
export interface Preprocessing {
    /** The edge length of the square that is cut out of the resized image, in pixels. */
    size: number;
    /** Whether the shorter edge, the longer edge, or both are resized to `resizeTo`. */
    resize: "shortest" | "longest" | "squash" | "none";
    /** Width and height in pixels: the same number twice for "shortest" and "longest", `null` for "none". */
    resizeTo: [number, number] | null;
    interpolation: "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
    crop: "center";
    /** The colour where the resized image does not cover the square, in levels of 0 to 255. */
    fillColor: [number, number, number];
    /** The factor for each level of 0 to 255. */
    rescaleFactor: number;
    /** Mean of red, green and blue, for rescaled values. */
    mean: [number, number, number];
    /** Standard deviation of red, green and blue, for rescaled values. */
    std: [number, number, number];
}
"#;
