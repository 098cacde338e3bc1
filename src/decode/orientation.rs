//! Which way up a picture was taken, and turning it.

use image::DynamicImage;
use image::metadata::Orientation;

use super::{Orientation as Wanted, RgbImage};
use crate::error::Result;
use crate::memory;

/// Turns the image upright, as `PIL.ImageOps.exif_transpose` does: by the orientation in its Exif
/// data or, where that has none, in its XMP packet. Where that is not wanted, leaves it as it is.
pub(super) fn apply(
    image: RgbImage,
    wanted: Wanted,
    exif: Option<&[u8]>,
    xmp: Option<&[u8]>,
) -> Result<RgbImage> {
    if wanted == Wanted::Ignore {
        return Ok(image);
    }
    let orientation = exif.and_then(from_exif).or_else(|| xmp.and_then(from_xmp));
    match orientation {
        None | Some(Orientation::NoTransforms) => Ok(image),
        Some(orientation) => turn(image, orientation),
    }
}

/// Turns the image by a TIFF or Exif orientation, 1 to 8; others leave it as it is.
pub(super) fn apply_value(image: RgbImage, value: u16) -> Result<RgbImage> {
    match u8::try_from(value).ok().and_then(Orientation::from_exif) {
        None | Some(Orientation::NoTransforms) => Ok(image),
        Some(orientation) => turn(image, orientation),
    }
}

fn turn(image: RgbImage, orientation: Orientation) -> Result<RgbImage> {
    use Orientation::{FlipHorizontal, FlipVertical, Rotate180};
    let RgbImage { width, height, pixels } = image;
    // The others are done in place.
    if !matches!(orientation, FlipHorizontal | FlipVertical | Rotate180) {
        memory::probe(&[pixels.len() as u64])?;
    }
    let buffer = image::RgbImage::from_raw(width, height, pixels)
        .expect("an RgbImage holds three bytes a pixel");
    let mut buffer = DynamicImage::ImageRgb8(buffer);
    buffer.apply_orientation(orientation);
    let (width, height) = (buffer.width(), buffer.height());
    Ok(RgbImage { width, height, pixels: buffer.into_bytes() })
}

fn from_exif(exif: &[u8]) -> Option<Orientation> {
    // The marker belongs to JPEG's segment, but some writers put it into PNG and WebP as well.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif)
}

/// The first `tiff:Orientation` of an XMP packet, as an attribute or an element.
fn from_xmp(xmp: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut at = 0;
    while let Some(found) = xmp[at..].windows(NAME.len()).position(|window| window == NAME) {
        at += found + NAME.len();
        let digit = match &xmp[at..] {
            [b'=', b'"', digit, ..] | [b'>', digit, ..] => *digit,
            _ => continue,
        };
        if digit.is_ascii_digit() {
            return Orientation::from_exif(digit - b'0');
        }
    }
    None
}
