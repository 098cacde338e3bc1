//! JPEG: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::sniff::Format;
use super::{Orientation, RgbImage, check_header, corrupt, orientation, samples, unsupported};
use crate::error::{Error, Result};

/// A block of 8 x 8 samples takes a bit at the least, so a byte holds no more pixels than this.
/// A file that claims more is cut short, and its claim is not worth allocating for.
const MAX_PIXELS_PER_BYTE: u64 = 8 * 64;

/// Decodes a JPEG.
pub(super) fn decode(bytes: &[u8], orientation: Orientation) -> Result<RgbImage> {
    if !is_complete(bytes) {
        return Err(corrupt(Format::Jpeg, "it has no end-of-image marker"));
    }
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(from_zune)?;
    let (width, height) =
        decoder.dimensions().ok_or_else(|| corrupt(Format::Jpeg, "it has no frame header"))?;
    let (width, height) = (width as u32, height as u32);
    check_header(Format::Jpeg, width, height)?;
    if u64::from(width) * u64::from(height) > bytes.len() as u64 * MAX_PIXELS_PER_BYTE {
        let what = format!("{} bytes cannot hold {width} x {height} pixels", bytes.len());
        return Err(corrupt(Format::Jpeg, what));
    }

    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let wanted = match stored {
        // Ink is converted here: the decoder's own conversion is not PIL's.
        ColorSpace::Luma | ColorSpace::RGB | ColorSpace::CMYK | ColorSpace::YCCK => stored,
        ColorSpace::YCbCr => ColorSpace::RGB,
        other => return Err(unsupported(Format::Jpeg, format!("its colours are {other:?}"))),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let decoded = decoder.decode().map_err(from_zune)?;
    let pixels = match wanted {
        ColorSpace::Luma => samples::grey(&decoded, 1),
        ColorSpace::CMYK => from_ink(decoded, |cmyk| cmyk.map(|ink| 255 - ink)),
        ColorSpace::YCCK => from_ink(decoded, ycck_to_cmyk),
        _ => decoded,
    };
    let image = RgbImage { width, height, pixels };
    Ok(orientation::apply(
        image,
        orientation,
        decoder.exif().map(Vec::as_slice),
        decoder.xmp().map(Vec::as_slice),
    ))
}

/// Whether an end-of-image marker follows a scan. The decoder is lenient, as it must be with
/// damage that libjpeg passes over, and fills what is missing with grey; PIL refuses.
fn is_complete(bytes: &[u8]) -> bool {
    let mut scanned = false;
    let mut at = 2;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xff)) {
        at += found + 1;
        match bytes.get(at) {
            // The end of image; before a scan it can only be junk.
            Some(0xd9) if scanned => return true,
            // A fill byte: what follows may be the marker.
            Some(0xff) => {}
            // Stuffing, and the markers without a segment.
            Some(0x00 | 0x01 | 0xd0..=0xd9) => at += 1,
            // Every other marker has a segment, whose bytes may look like markers: a thumbnail.
            Some(&marker) => {
                scanned |= marker == 0xda;
                let length = bytes.get(at + 1..at + 3).unwrap_or(&[0, 0]);
                at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
            None => return false,
        }
    }
    false
}

/// PIL takes every CMYK JPEG for one of Adobe's, which store 255 for no ink, marked so or not.
fn from_ink(mut decoded: Vec<u8>, to_cmyk: impl Fn([u8; 4]) -> [u8; 4]) -> Vec<u8> {
    for pixel in decoded.as_chunks_mut::<4>().0 {
        let [r, g, b] = samples::cmyk_to_rgb(to_cmyk(*pixel));
        *pixel = [r, g, b, 0];
    }
    samples::first_three(decoded)
}

/// YCC holds the complement of the stored ink, which is the ink itself where that is inverted. The
/// conversion is libjpeg's (`ycck_cmyk_convert`), in 16 fraction bits.
fn ycck_to_cmyk([y, cb, cr, k]: [u8; 4]) -> [u8; 4] {
    const ONE_HALF: i32 = 1 << 15;
    let fixed = |factor: f64| (factor * 65536.0 + 0.5) as i32;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fixed(1.402) * cr + ONE_HALF) >> 16);
    let green = y + ((-fixed(0.344_14) * cb - fixed(0.714_14) * cr + ONE_HALF) >> 16);
    let blue = y + ((fixed(1.772) * cb + ONE_HALF) >> 16);
    let [c, m, y] = [red, green, blue].map(|level| level.clamp(0, 255) as u8);
    [c, m, y, 255 - k]
}

fn from_zune(error: DecodeErrors) -> Error {
    match &error {
        DecodeErrors::Unsupported(_) => unsupported(Format::Jpeg, &error),
        _ => corrupt(Format::Jpeg, &error),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WebAssembly has the decoder's scalar code only: what is measured natively must hold there.
    #[test]
    fn scalar_and_simd_code_decode_alike() {
        for name in ["baseline_420", "baseline_422", "baseline_440", "low_quality", "rgb", "grey"] {
            let path = format!("{}/tests/fixtures/images/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(path).unwrap();
            let decode = |simd| {
                let options = DecoderOptions::default().set_use_unsafe(simd);
                JpegDecoder::new_with_options(ZCursor::new(&bytes[..]), options).decode().unwrap()
            };
            assert_eq!(decode(true), decode(false), "{name}");
        }
    }
}
