//! Decodes image files to RGB pixels.
//!
//! The reference is what `load_image` of Hugging Face transformers makes of the same bytes: PIL opens the
//! file, `ImageOps.exif_transpose` turns it upright, and `convert("RGB")` follows. So alpha is dropped, not
//! composited, unless [`DecodeOptions`] asks for that. A palette is looked up. An animation yields its
//! first frame. 16-bit colour keeps its high byte, while 16-bit grey saturates at 255, like PIL's `I;16`.
//! Colour profiles are ignored.
//!
//! The pixels equal Pillow 13's byte for byte in every format. JPEG is decoded by a port of libjpeg-turbo,
//! which Pillow uses, and its scalar and SIMD code agree. What cannot be read the way PIL reads it is
//! refused as `unsupported_image`: TIFFs in CIE L\*a\*b\* or compressed with old-style JPEG, LZMA, modified
//! Huffman code, WebP or Zstandard; JPEGs that are 12-bit, lossless or hierarchical. Truncated or damaged
//! files are refused as `corrupt_image`, where PIL may show a part of the picture. Some files that PIL
//! refuses are read: BMPs with any colour masks, and PNGs that are damaged outside the pixels.
//!
//! Orientation follows PIL too: an integer of any type, from the Exif data of a JPEG (joined from several
//! segments), a PNG (in a chunk or in ImageMagick's text) or a WebP, or from a TIFF's own directory. If
//! Exif data has none, it is taken from XMP.
//!
//! The format is detected from the content, never from a name. Input is not trusted: sizes are checked
//! against the [limits](crate::Limits) before anything of that size is allocated. If there is not enough
//! memory, that is an error, because a failed allocation would end the whole WebAssembly instance.

mod bmp;
mod gif;
mod jpeg;
mod options;
mod orientation;
mod png;
mod samples;
mod sniff;
mod tags;
mod tiff;
mod webp;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;
pub use options::{Alpha, DecodeOptions, Orientation};
use sniff::Format;

/// An image of 8-bit RGB pixels: interleaved, row-major, no padding, at least 1 x 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// An image of `width` x `height` pixels of three bytes each.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the width or the height is zero or the length of `pixels` is not
    /// `3 * width * height`.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        check_length(width, height, 3, pixels.len())?;
        Ok(Self { width, height, pixels })
    }

    /// An image from the pixels that a browser returns: `rgba` is RGBA8, interleaved, row-major.
    ///
    /// # Errors
    ///
    /// Those of [`RgbImage::new`], but for a length of `4 * width * height`.
    pub fn from_rgba(width: u32, height: u32, rgba: Vec<u8>, alpha: Alpha) -> Result<Self> {
        check_length(width, height, 4, rgba.len())?;
        Ok(Self { width, height, pixels: samples::rgba(rgba, alpha) })
    }

    /// The width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: `[height, width, 3]`, RGB8.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

fn check_length(width: u32, height: u32, bytes_per_pixel: u64, len: usize) -> Result<()> {
    check_edges(width, height)?;
    let expected = u64::from(width) * u64::from(height) * bytes_per_pixel;
    if len as u64 != expected {
        let message = format!(
            "{width} x {height} pixels take {expected} bytes, not {len}; pass the size the pixels \
             were read with"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Decodes an image file as the reference does: upright, RGB, without its alpha.
///
/// # Errors
///
/// Those of [`decode_with`].
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    decode_with(bytes, DecodeOptions::default())
}

/// Decodes an image file to RGB.
///
/// ```
/// use clip_wasm::{ErrorKind, decode::decode};
///
/// let gif = b"GIF89a\x01\0\x01\0\x80\0\0\x10\x20\x30\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;";
/// let image = decode(gif)?;
/// assert_eq!((image.width(), image.height(), image.pixels()), (1, 1, &[16, 32, 48][..]));
/// assert_eq!(decode(&gif[..20]).unwrap_err().kind(), ErrorKind::CorruptImage);
/// # Ok::<(), clip_wasm::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::UnsupportedImage`] if the bytes are not an image, or are in a format or a variant that is
/// not supported; [`ErrorKind::CorruptImage`] if they are truncated or damaged;
/// [`ErrorKind::ImageTooLarge`] if the image is larger than the default [`Limits`] allow;
/// [`ErrorKind::LowMemory`] if there is not enough memory for it.
pub fn decode_with(bytes: &[u8], options: DecodeOptions) -> Result<RgbImage> {
    decode_within(bytes, options, &Limits::default())
}

/// Like [`decode_with`], but with the caller's limits instead of the default ones.
///
/// # Errors
///
/// Those of [`decode_with`], and [`ErrorKind::LimitExceeded`] for a JPEG with too many scans.
pub fn decode_within(bytes: &[u8], options: DecodeOptions, limits: &Limits) -> Result<RgbImage> {
    let DecodeOptions { orientation, alpha } = options;
    let format = sniff::format_of(bytes)?;
    limits.check(Limit::ImageBytes, bytes.len() as u64)?;
    match format {
        Format::Jpeg => jpeg::decode(bytes, orientation, limits),
        Format::Png => png::decode(bytes, options, limits),
        Format::WebP => webp::decode(bytes, options, limits),
        Format::Gif => gif::decode(bytes, alpha, limits),
        Format::Bmp => bmp::decode(bytes, alpha, limits),
        Format::Tiff => tiff::decode(bytes, alpha, limits),
    }
}

/// Whether the bytes start like an image in a supported format.
pub fn recognizes(bytes: &[u8]) -> bool {
    sniff::format_of(bytes).is_ok()
}

fn check_edges(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        let message = format!("the image is {width} x {height} pixels; it must be at least 1 x 1");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Refuses an image with more pixels than the limits allow.
pub(crate) fn check_pixels(width: u32, height: u32, limits: &Limits) -> Result<()> {
    let within = limits.check(Limit::Pixels, u64::from(width) * u64::from(height));
    within
        .map_err(|error| error.context(format_args!("the image claims {width} x {height} pixels")))
}

/// Does the same for the size in a file's header, where zero means that the file is damaged.
fn check_header(format: Format, width: u32, height: u32, limits: &Limits) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(corrupt(format, format!("its header claims {width} x {height} pixels")));
    }
    check_pixels(width, height, limits)
}

/// Refuses an image if decoding it takes more memory than the limits allow or than there is. `buffers` are
/// the sizes in bytes of the buffers that the decoder holds at the same time; it allocates them without
/// checking.
fn make_room(format: Format, buffers: &[u64], limits: &Limits) -> Result<()> {
    let within = limits.check(Limit::DecodeBytes, buffers.iter().sum());
    let there = within.and_then(|()| memory::probe(buffers));
    there.map_err(|error| error.context(format_args!("decoding this {format} image")))
}

fn corrupt(format: Format, what: impl std::fmt::Display) -> Error {
    let message = format!(
        "this {format} image is damaged or truncated: {what}; download it again or save it again"
    );
    Error::new(ErrorKind::CorruptImage, message)
}

fn unsupported(format: Format, what: impl std::fmt::Display) -> Error {
    let message =
        format!("this variant of {format} is not supported: {what}; save the image as PNG or JPEG");
    Error::new(ErrorKind::UnsupportedImage, message)
}

fn too_large(format: Format) -> Error {
    let message = format!(
        "this {format} image takes more memory to decode than the limit allows; scale the image down first, or raise the limit {} if you trust its source",
        Limit::DecodeBytes.name()
    );
    Error::new(ErrorKind::ImageTooLarge, message)
}
