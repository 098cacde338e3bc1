//! PNG; of an animated one the image that readers without animation show.

use std::borrow::Cow;
use std::io::Cursor;

use png::{
    BitDepth, ColorType, Decoder, DecodingError, Info, Limits as DecoderLimits, Transformations,
};

use super::sniff::Format;
use super::{DecodeOptions, RgbImage, samples};
use super::{check_header, corrupt, make_room, orientation, too_large, unsupported};
use crate::error::{Error, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// What the decoder has beside a few rows: what is inflated at once, and a chunk that is coming.
const WORKING_BYTES: u64 = 320 << 10;
const SIGNATURE_BYTES: usize = 8;
/// Length and type of a chunk, and the checksum behind it.
const HEAD_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// A profile that is kept as text inflates to no more.
const MAX_PROFILE_BYTES: usize = 1 << 20;

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
    let whole = with_end(bytes)?;

    // Four channels of two bytes at most.
    let row = 8 * u64::from(width);
    make_room(Format::Png, &[WORKING_BYTES, row, row], limits)?;
    // Its chunks, as they are and copied; and no more for a colour profile, which is not read, but inflated.
    let of_chunks = 4 * bytes.len() as u64 + 4 * row + WORKING_BYTES;
    let most = of_chunks.min(limits.get(Limit::DecodeBytes));
    let most = DecoderLimits { bytes: usize::try_from(most).unwrap_or(usize::MAX) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(&whole[..]), most);
    // PIL reads image data whose checksum is wrong. Those of what decides its meaning have been checked.
    decoder.ignore_checksums(true);
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
        // Grey without an alpha channel, of which a colour key has made one.
        (ColorType::GrayscaleAlpha, Sixteen) if (colour, depth) == (0, 16) => {
            samples::saturate(words(&data).step_by(2))?
        }
        (ColorType::GrayscaleAlpha, Sixteen) => {
            samples::grey_alpha(samples::one_of(data, 2, 0), alpha)?
        }
        (ColorType::Rgb, Sixteen) => samples::one_of(data, 2, 0),
        (ColorType::Rgba, Sixteen) => samples::rgba(samples::one_of(data, 2, 0), alpha),
        other => return Err(unsupported(Format::Png, format!("its pixels are {other:?}"))),
    };
    let image = RgbImage { width, height, pixels };
    // What follows the image data is read for its metadata, which may be damaged without harm to the picture.
    let _ = reader.finish();
    let (exif, xmp) = (exif(bytes, reader.info()), xmp(reader.info()));
    orientation::apply(image, options.orientation, exif.as_deref(), xmp.as_deref())
}

/// Samples of 16 bits.
fn words(data: &[u8]) -> impl ExactSizeIterator<Item = u16> {
    data.as_chunks().0.iter().map(|&sample| u16::from_be_bytes(sample))
}

/// The chunks of the file: place, type and body, until one is cut short.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (usize, [u8; 4], &[u8])> {
    let mut at = SIGNATURE_BYTES;
    std::iter::from_fn(move || {
        let &[a, b, c, d, ref kind @ ..] = bytes.get(at..)?.first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let body = bytes.get(at + HEAD_BYTES..)?.get(..length)?;
        let place = at;
        at = (at + HEAD_BYTES).checked_add(length)?.checked_add(CHECKSUM_BYTES)?;
        Some((place, *kind, body))
    })
}

/// The file with its end, which may be missing as PIL allows it; checks the chunks that decide what image data means.
fn with_end(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    let mut end = SIGNATURE_BYTES;
    let mut has_data = false;
    for (place, kind, body) in chunks(bytes) {
        end = place + HEAD_BYTES + body.len() + CHECKSUM_BYTES;
        match &kind {
            b"IEND" => return Ok(Cow::Borrowed(bytes)),
            b"IDAT" => has_data = true,
            b"IHDR" | b"PLTE" | b"tRNS" | b"eXIf" if !has_data => {
                let checksum = crc32fast::hash(&bytes[place + 4..place + HEAD_BYTES + body.len()]);
                if bytes.get(end - CHECKSUM_BYTES..end) != Some(&checksum.to_be_bytes()) {
                    let name = String::from_utf8_lossy(&kind);
                    return Err(corrupt(Format::Png, format!("the checksum of {name} is wrong")));
                }
            }
            _ => {}
        }
    }
    // A chunk that has begun is cut short.
    if !has_data || bytes.len() >= end + HEAD_BYTES {
        return Err(corrupt(Format::Png, "it ends within a chunk"));
    }
    let kept = &bytes[..bytes.len().min(end)];
    let mut whole = memory::reserved((end + HEAD_BYTES + CHECKSUM_BYTES) as u64)?;
    whole.extend_from_slice(kept);
    whole.resize(end, 0);
    whole.extend_from_slice(b"\0\0\0\0IEND");
    whole.extend_from_slice(&crc32fast::hash(b"IEND").to_be_bytes());
    Ok(Cow::Owned(whole))
}

/// Exif data of its own chunk, which may stand after the image data, or as ImageMagick writes it, in hexadecimal
/// digits behind three lines of text.
fn exif<'a>(bytes: &'a [u8], info: &Info) -> Option<Cow<'a, [u8]>> {
    if let Some((.., body)) = chunks(bytes).find(|(_, kind, _)| kind == b"eXIf") {
        return Some(Cow::Borrowed(body));
    }
    const NAME: &str = "Raw profile type exif";
    let plain = info.uncompressed_latin1_text.iter().rfind(|chunk| chunk.keyword == NAME);
    let compressed = info.compressed_latin1_text.iter().rfind(|chunk| chunk.keyword == NAME);
    let text = match (plain, compressed) {
        (Some(plain), _) => plain.text.clone(),
        (None, Some(chunk)) => {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MAX_PROFILE_BYTES).ok()?;
            chunk.get_text().ok()?
        }
        (None, None) => return None,
    };
    let digits: Vec<u8> = text
        .split('\n')
        .skip(3)
        .flat_map(str::bytes)
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    Some(Cow::Owned(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect()))
}

fn xmp(info: &Info) -> Option<Vec<u8>> {
    let chunk = info.utf8_text.iter().rfind(|chunk| chunk.keyword == "XML:com.adobe.xmp")?;
    let mut chunk = chunk.clone();
    chunk.decompress_text_with_limit(MAX_PROFILE_BYTES).ok()?;
    chunk.get_text().ok().map(String::into_bytes)
}

fn from_png(error: DecodingError) -> Error {
    match &error {
        DecodingError::LimitsExceeded => too_large(Format::Png),
        _ => corrupt(Format::Png, &error),
    }
    .with_source(error)
}
