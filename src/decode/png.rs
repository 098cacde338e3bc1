//! PNG; of an animated PNG, the default image that readers without animation show.

mod chunks;
mod metadata;

use std::io::Cursor;

use png::{
    BitDepth, ColorType, DecodeOptions as DecoderOptions, Decoder, DecodingError,
    Limits as DecoderLimits, Transformations,
};

use super::sniff::Format;
use super::{DecodeOptions, RgbImage, samples};
use super::{check_header, corrupt, make_room, orientation, too_large, unsupported};
use crate::error::{Error, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// Memory the decoder takes besides a few rows: a piece of inflated data and a chunk that is being read.
const WORKING_BYTES: u64 = 320 << 10;

/// Decodes a PNG.
pub(super) fn decode(bytes: &[u8], options: DecodeOptions, limits: &Limits) -> Result<RgbImage> {
    // The header chunk comes first by definition: length, name, width, height, depth, colour.
    let Some(&[.., depth, colour]) = bytes.get(12..26).filter(|ihdr| ihdr.starts_with(b"IHDR"))
    else {
        return Err(corrupt(Format::Png, "it has no header"));
    };
    let edge = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    let (width, height) = (edge(16), edge(20));
    check_header(Format::Png, width, height, limits)?;
    let whole = chunks::put_right(bytes, colour)?;

    // At most four channels of two bytes.
    let row = 8 * u64::from(width);
    make_room(Format::Png, &[WORKING_BYTES, row, row], limits)?;
    // The chunks and a copy of them, but no memory for a colour profile: the decoder would inflate it, and
    // nobody reads it.
    let of_chunks = 4 * bytes.len() as u64 + 4 * row + WORKING_BYTES;
    let most = of_chunks.min(limits.get(Limit::DecodeBytes));
    let most = DecoderLimits { bytes: usize::try_from(most).unwrap_or(usize::MAX) };
    // PIL reads image data whose chunk checksum is wrong, but not if the inflated data's checksum is wrong.
    // The chunks that decide what the image data means have already been checked.
    let mut checks = DecoderOptions::default();
    checks.set_ignore_crc(true);
    checks.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(&whole[..]), checks);
    decoder.set_limits(most);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(from_png)?;
    let total = reader.output_buffer_size().ok_or_else(|| too_large(Format::Png))? as u64;
    make_room(Format::Png, &[total, WORKING_BYTES, row, row], limits)?;
    let mut data = memory::filled(total, 0)?;
    let frame = reader.next_frame(&mut data).map_err(from_png)?;
    if (frame.width, frame.height) != (width, height) {
        return Err(corrupt(Format::Png, "its image is smaller than its header says"));
    }

    use BitDepth::{Eight, Sixteen};
    let alpha = options.alpha;
    let pixels = match (frame.color_type, frame.bit_depth) {
        (ColorType::Rgb, Eight) => data,
        (ColorType::Rgba, Eight) => samples::rgba(data, alpha),
        (ColorType::Grayscale, Eight) => samples::grey(&data, 1)?,
        (ColorType::GrayscaleAlpha, Eight) => samples::grey_alpha(data, alpha)?,
        (ColorType::Grayscale, Sixteen) => samples::saturate(words(&data))?,
        // Grey without an alpha channel; this one comes from a colour key.
        (ColorType::GrayscaleAlpha, Sixteen) if (colour, depth) == (0, 16) => {
            samples::saturate(words(&data).step_by(2))?
        }
        (ColorType::GrayscaleAlpha, Sixteen) => {
            samples::grey_alpha(samples::one_of(data, 2, 0), alpha)?
        }
        (ColorType::Rgb, Sixteen) => samples::one_of(data, 2, 0),
        (ColorType::Rgba, Sixteen) => samples::rgba(samples::one_of(data, 2, 0), alpha),
        other => return Err(unsupported(Format::Png, format!("its pixel type is {other:?}"))),
    };
    let image = RgbImage { width, height, pixels };
    // The chunks after the image data are only read for metadata; if they are damaged, the picture is still
    // good.
    let _ = reader.finish();
    let info = reader.info();
    let (exif, xmp) = (metadata::exif(bytes, info), metadata::xmp(bytes, info));
    orientation::apply(image, options.orientation, exif.as_deref(), xmp.as_deref())
}

/// 16-bit samples.
fn words(data: &[u8]) -> impl ExactSizeIterator<Item = u16> {
    data.as_chunks().0.iter().map(|&sample| u16::from_be_bytes(sample))
}

fn from_png(error: DecodingError) -> Error {
    match &error {
        DecodingError::LimitsExceeded => too_large(Format::Png),
        _ => corrupt(Format::Png, &error),
    }
    .with_source(error)
}
