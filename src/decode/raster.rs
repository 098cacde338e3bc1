//! PNG and BMP, which the `image` crate reads as PIL does.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder, Limits as DecoderLimits};

use super::sniff::Format;
use super::{Alpha, DecodeOptions, RgbImage, samples};
use super::{check_header, corrupt, from_decoder, make_room, orientation, unsupported};
use crate::error::Result;
use crate::limits::{Limit, Limits};
use crate::memory;

/// What the PNG decoder has beside a few rows: what is inflated at once, and a chunk that is coming.
const PNG_BYTES: u64 = 320 << 10;

/// Decodes a PNG. Of an animated one this is the image that readers without animation show.
pub(super) fn decode_png(
    bytes: &[u8],
    options: DecodeOptions,
    limits: &Limits,
) -> Result<RgbImage> {
    const FORMAT: Format = Format::Png;
    // The header chunk comes first by definition: length, name, width, height, depth, colour.
    let Some(&[.., depth, colour]) = bytes.get(12..26).filter(|ihdr| ihdr.starts_with(b"IHDR"))
    else {
        return Err(corrupt(FORMAT, "it has no header"));
    };
    let edge = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    let (width, height) = (edge(16), edge(20));
    check_header(FORMAT, width, height, limits)?;

    // Four channels of two bytes at most.
    let row = 8 * u64::from(width);
    make_room(FORMAT, &[PNG_BYTES, row, row], limits)?;
    let mut most = DecoderLimits::no_limits();
    // Its chunks, as they are and copied; and no more for a colour profile, which is not read, but inflated.
    let of_chunks = 4 * bytes.len() as u64 + 4 * row + PNG_BYTES;
    most.max_alloc = Some(of_chunks.min(limits.get(Limit::DecodeBytes)));
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), most)
        .map_err(|error| from_decoder(FORMAT, error))?;
    // Metadata that cannot be read costs the orientation, not the picture.
    let xmp = decoder.xmp_metadata().unwrap_or(None);
    let grey16 = colour == 0 && depth == 16;
    let image = read(FORMAT, decoder, &[PNG_BYTES, row, row], options.alpha, grey16, limits)?;
    orientation::apply(image, options.orientation, png_exif(bytes), xmp.as_deref())
}

/// The Exif chunk, which may stand after the image data, where the decoder no longer looks.
fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let (header, body) = rest.split_first_chunk::<8>()?;
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if &header[4..] == b"eXIf" {
            return body.get(..length);
        }
        rest = body.get(length.checked_add(4)?..)?;
    }
}

/// Decodes a BMP.
pub(super) fn decode_bmp(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let decoder =
        BmpDecoder::new(Cursor::new(bytes)).map_err(|error| from_decoder(Format::Bmp, error))?;
    let mut image = read(Format::Bmp, decoder, &[], alpha, false, limits)?;
    if let Some(bits) = bmp16_bits(bytes) {
        // The decoder rounds the levels of 5 and 6 bits to nearest, PIL rounds them down.
        let lower = bits.map(|bits| {
            let highest = (1_u32 << bits) - 1;
            let level = |nearest: u32| (nearest * highest + 127) / 255 * 255 / highest;
            std::array::from_fn::<u8, 256, _>(|nearest| level(nearest as u32) as u8)
        });
        for pixel in image.pixels.as_chunks_mut::<3>().0 {
            for (level, lower) in pixel.iter_mut().zip(&lower) {
                *level = lower[usize::from(*level)];
            }
        }
    }
    Ok(image)
}

/// How many bits each channel of a 16-bit BMP has, in the two layouts that PIL reads.
fn bmp16_bits(bytes: &[u8]) -> Option<[u32; 3]> {
    const BITFIELDS: u32 = 3;
    const RGB565: [u32; 3] = [0xf800, 0x7e0, 0x1f];
    let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if long(14)? < 40 || long(28)? & 0xffff != 16 {
        return None;
    }
    let masks = [long(54)?, long(58)?, long(62)?];
    Some(if long(30)? == BITFIELDS && masks == RGB565 { [5, 6, 5] } else { [5, 5, 5] })
}

/// The pixels of any decoder of the `image` crate as RGB8. `working` are the buffers, in bytes, that it has
/// beside them at once. `grey16` says that the file holds
/// 16-bit grey without an alpha channel, though the decoder may have made one of a key colour.
pub(super) fn read(
    format: Format,
    decoder: impl ImageDecoder,
    working: &[u64],
    alpha: Alpha,
    grey16: bool,
    limits: &Limits,
) -> Result<RgbImage> {
    let (width, height) = decoder.dimensions();
    check_header(format, width, height, limits)?;
    let colour = decoder.color_type();
    let total = decoder.total_bytes();
    make_room(format, &[&[total], working].concat(), limits)?;
    let mut bytes = memory::filled(total, 0)?;
    decoder.read_image(&mut bytes).map_err(|error| from_decoder(format, error))?;

    let pixels = match colour {
        ColorType::Rgb8 => bytes,
        ColorType::Rgba8 => samples::rgba(bytes, alpha),
        ColorType::L8 => samples::grey(&bytes, 1)?,
        ColorType::La8 => samples::grey_alpha(bytes, alpha)?,
        ColorType::L16 => samples::saturate(samples::words(&bytes))?,
        ColorType::La16 if grey16 => samples::saturate(samples::words(&bytes).step_by(2))?,
        ColorType::La16 => samples::grey_alpha(samples::high_bytes(bytes), alpha)?,
        ColorType::Rgb16 => samples::high_bytes(bytes),
        ColorType::Rgba16 => samples::rgba(samples::high_bytes(bytes), alpha),
        other => return Err(unsupported(format, format!("its pixels are {other:?}"))),
    };
    Ok(RgbImage { width, height, pixels })
}
