//! Finds an image's orientation and turns it upright.

use image::DynamicImage;
use image::metadata::Orientation;

use super::tags::{Directory, tag};
use super::{Orientation as Wanted, RgbImage};
use crate::error::Result;
use crate::memory;

/// Turns the image upright like `PIL.ImageOps.exif_transpose`: by the orientation in its Exif data or, if
/// that has none, in its XMP packet. Leaves it as it is if `wanted` says so.
pub(super) fn apply(
    image: RgbImage,
    wanted: Wanted,
    exif: Option<&[u8]>,
    xmp: Option<&[u8]>,
) -> Result<RgbImage> {
    if wanted == Wanted::Ignore {
        return Ok(image);
    }
    let value = exif.and_then(directory_of).and_then(|directory| named(&directory));
    turn_by(image, value, xmp)
}

/// Turns the image by the orientation in a TIFF file's own directory.
pub(super) fn apply_directory(image: RgbImage, directory: &Directory) -> Result<RgbImage> {
    turn_by(image, named(directory), directory.bytes(tag::XMP))
}

/// `value` is the orientation in the Exif data. If there is any value, XMP is not read.
fn turn_by(image: RgbImage, value: Option<f64>, xmp: Option<&[u8]>) -> Result<RgbImage> {
    let value = value.or_else(|| xmp.and_then(from_xmp));
    let value = value.filter(|value| value.fract() == 0.0 && (1.0..=8.0).contains(value));
    match value.and_then(|value| Orientation::from_exif(value as u8)) {
        None | Some(Orientation::NoTransforms) => Ok(image),
        Some(orientation) => turn(image, orientation),
    }
}

/// The directory of Exif data. The marker belongs to JPEG segments, but some writers also put it into PNG
/// and WebP files, or write it twice.
fn directory_of(exif: &[u8]) -> Option<Directory<'_>> {
    const MARKER: &[u8] = b"Exif\0\0";
    let exif = exif.strip_prefix(MARKER).unwrap_or(exif);
    Directory::of_exif(exif.strip_prefix(MARKER).unwrap_or(exif))
}

/// The orientation in a directory, of any number type; NaN for bytes and text, which are invalid.
fn named(directory: &Directory) -> Option<f64> {
    let entry = directory.find(tag::ORIENTATION)?;
    if entry.is_bytes() { Some(f64::NAN) } else { entry.values().next() }
}

fn turn(image: RgbImage, orientation: Orientation) -> Result<RgbImage> {
    use Orientation::{FlipHorizontal, FlipVertical, Rotate180};
    let RgbImage { width, height, pixels } = image;
    // The other orientations are done in place.
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

/// The first `tiff:Orientation` in an XMP packet, as an attribute or an element.
fn from_xmp(xmp: &[u8]) -> Option<f64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut at = 0;
    while let Some(found) = xmp[at..].windows(NAME.len()).position(|window| window == NAME) {
        at += found + NAME.len();
        let digit = match &xmp[at..] {
            [b'=', b'"', digit, ..] | [b'>', digit, ..] => *digit,
            _ => continue,
        };
        if digit.is_ascii_digit() {
            return Some(f64::from(digit - b'0'));
        }
    }
    None
}
