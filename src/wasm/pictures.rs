//! Image files and pixels -> the square of pixels that a vision tower reads.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::ImageData;

use super::js_error;
use super::limits::Limits;
use crate::decode::{self, Alpha, DecodeOptions, Orientation, RgbImage};
use crate::error::{Error, ErrorKind};
use crate::preprocess::{Filter, Preprocess, Resize};

const WARM_UP_ROUNDS: usize = 4;

#[wasm_bindgen]
extern "C" {
    /// How a model wants its images prepared: the TypeScript type `Preprocessing`.
    #[wasm_bindgen(typescript_type = "Preprocessing")]
    pub type Preprocessing;

    #[wasm_bindgen(method, getter)]
    fn size(this: &Preprocessing) -> usize;

    #[wasm_bindgen(method, getter)]
    fn resize(this: &Preprocessing) -> String;

    #[wasm_bindgen(method, getter, js_name = resizeTo)]
    fn resize_to(this: &Preprocessing) -> Option<Vec<u32>>;

    #[wasm_bindgen(method, getter)]
    fn interpolation(this: &Preprocessing) -> String;

    #[wasm_bindgen(method, getter, js_name = fillColor)]
    fn fill_color(this: &Preprocessing) -> Vec<u8>;
}

impl Preprocessing {
    /// Resize and crop only: rescaling and normalising are done in the towers' module.
    ///
    /// # Errors
    /// `invalid_input` for a step that does not exist.
    fn geometry(&self) -> Result<Preprocess, JsValue> {
        let invalid = |what: &str| {
            js_error(Error::new(
                ErrorKind::InvalidInput,
                format!("preprocessing.{what} is invalid"),
            ))
        };
        let edges = self.resize_to().and_then(|edges| <[u32; 2]>::try_from(edges).ok());
        let resize =
            match (self.resize().as_str(), edges.map(|edges| edges.map(|edge| edge as usize))) {
                ("shortest", Some([edge, _])) => Resize::Shortest(edge),
                ("longest", _) => Resize::Longest,
                ("squash", Some([width, height])) => Resize::Squash { width, height },
                ("none", _) => Resize::None,
                _ => return Err(invalid("resize")),
            };
        Ok(Preprocess {
            resize,
            filter: Filter::named(&self.interpolation()).ok_or_else(|| invalid("interpolation"))?,
            fill: self.fill_color().try_into().map_err(|_| invalid("fillColor"))?,
            ..Preprocess::openai(self.size())
        })
    }
}

/// A decoded picture. It is apart from its file so that JavaScript can say how long decoding takes, and how long
/// resizing.
#[wasm_bindgen]
pub struct DecodedImage(RgbImage);

#[wasm_bindgen]
impl DecodedImage {
    /// Prepares it as a model's `info.preprocessing` says, and frees it: the pixels are `[S, S, 3]`, RGB, row-major, for
    /// `embedSquares` of that model's encoder.
    ///
    /// Throws an `Error` with a `code`: `low_memory` or `invalid_input`.
    pub fn prepare(self, preprocessing: &Preprocessing) -> Result<Uint8Array, JsValue> {
        let preprocess = preprocessing.geometry()?;
        preprocess.make_room_to_resize(&self.0).map_err(js_error)?;
        Ok(Uint8Array::from(&preprocess.resize_and_crop(&self.0)[..]))
    }
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file.
///
/// Throws an `Error` with a `code`: `unsupported_image`, `corrupt_image`, `image_too_large`, `limit_exceeded`,
/// `low_memory` or `invalid_input`.
#[wasm_bindgen(js_name = decodeFile)]
pub fn decode_file(
    bytes: &[u8],
    #[wasm_bindgen(unchecked_param_type = "\"exif\" | \"ignore\"")] orientation: &str,
    #[wasm_bindgen(unchecked_param_type = "\"drop\" | \"white\" | \"black\"")] alpha: &str,
    limits: &Limits,
) -> Result<DecodedImage, JsValue> {
    let options = DecodeOptions {
        orientation: Orientation::named(orientation).map_err(js_error)?,
        alpha: Alpha::named(alpha).map_err(js_error)?,
    };
    decode::decode_within(bytes, options, &limits.0).map(DecodedImage).map_err(js_error)
}

/// Takes pixels that the browser decoded.
///
/// Throws an `Error` with a `code`: `image_too_large`, `low_memory` or `invalid_input`.
#[wasm_bindgen(js_name = takePixels)]
pub fn take_pixels(
    pixels: &ImageData,
    #[wasm_bindgen(unchecked_param_type = "\"drop\" | \"white\" | \"black\"")] alpha: &str,
    limits: &Limits,
) -> Result<DecodedImage, JsValue> {
    decode::check_pixels(pixels.width(), pixels.height(), &limits.0).map_err(js_error)?;
    let alpha = Alpha::named(alpha).map_err(js_error)?;
    let image = RgbImage::from_rgba(pixels.width(), pixels.height(), pixels.data().0, alpha);
    image.map(DecodedImage).map_err(js_error)
}

/// Reads two small pictures, so that the browser compiles what reads files of these kinds before the first picture
/// comes. Takes some 30 ms of this thread. Throws only if this crate has a bug.
#[wasm_bindgen(js_name = warmUpPictures)]
pub fn warm_up_pictures() -> Result<(), JsValue> {
    let preprocess = Preprocess::openai(224);
    for file in [&include_bytes!("warm_up/photo.jpg")[..], include_bytes!("warm_up/drawing.png")] {
        // A browser optimises a function in the background after it has run for a while.
        for _ in 0..WARM_UP_ROUNDS {
            let image = decode::decode(file).map_err(js_error)?;
            preprocess.resize_and_crop(&image);
        }
    }
    Ok(())
}

/// Whether the bytes start like an image file in a supported format.
#[wasm_bindgen(js_name = recognizesImage)]
pub fn recognizes_image(bytes: &[u8]) -> bool {
    decode::recognizes(bytes)
}
