//! JPEG: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::sniff::Format;
use super::unsupported;
use super::{Orientation, RgbImage, check_header, corrupt, make_room, orientation, samples};
use crate::error::{Error, Result};
use crate::limits::{Limit, Limits};

/// A block of 8 x 8 samples takes a bit at the least, so a byte holds no more pixels than this.
/// A file that claims more is cut short, and its claim is not worth allocating for.
const MAX_PIXELS_PER_BYTE: u64 = 8 * 64;

/// Decodes a JPEG.
pub(super) fn decode(bytes: &[u8], orientation: Orientation, limits: &Limits) -> Result<RgbImage> {
    match scans(bytes) {
        None => return Err(corrupt(Format::Jpeg, "it has no end-of-image marker")),
        Some(scans) => limits.check(Limit::JpegScans, scans)?,
    }
    let options = DecoderOptions::default()
        .jpeg_set_max_scans(usize::try_from(limits.get(Limit::JpegScans)).unwrap_or(usize::MAX))
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(from_zune)?;
    let (width, height) =
        decoder.dimensions().ok_or_else(|| corrupt(Format::Jpeg, "it has no frame header"))?;
    let (width, height) = (width as u32, height as u32);
    check_header(Format::Jpeg, width, height, limits)?;
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
    if let Some(frame) = Frame::of(bytes) {
        make_room(Format::Jpeg, &frame.buffers(wanted.num_components()), limits)?;
    }
    let decoded = decoder.decode().map_err(from_zune)?;
    let pixels = match wanted {
        ColorSpace::Luma => samples::grey(&decoded, 1)?,
        ColorSpace::CMYK => from_ink(decoded, |cmyk| cmyk.map(|ink| 255 - ink)),
        ColorSpace::YCCK => from_ink(decoded, ycck_to_cmyk),
        _ => decoded,
    };
    let image = RgbImage { width, height, pixels };
    let (exif, xmp) = (decoder.exif().map(Vec::as_slice), decoder.xmp().map(Vec::as_slice));
    orientation::apply(image, orientation, exif, xmp)
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// How many scans come before an end-of-image marker; `None` where no such marker follows a scan. The decoder
/// is lenient, as it must be with damage that libjpeg passes over, and fills what is missing with grey; PIL
/// refuses.
fn scans(bytes: &[u8]) -> Option<u64> {
    let mut scans = 0;
    for (marker, _) in markers(bytes) {
        match marker {
            // Before a scan it can only be junk.
            END_OF_IMAGE if scans > 0 => return Some(scans),
            START_OF_SCAN => scans += 1,
            _ => {}
        }
    }
    None
}

/// Every marker behind the first, with the segment that follows it, which may be cut short or empty.
fn markers(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
            match *bytes.get(at)? {
                // A fill byte: what follows may be the marker.
                0xff => {}
                // Stuffing within a scan.
                0x00 => at += 1,
                // Those without a segment.
                marker @ (0x01 | 0xd0..=0xd9) => {
                    at += 1;
                    return Some((marker, &bytes[..0]));
                }
                // Every other has one, whose bytes may look like markers: a thumbnail.
                marker => {
                    let length = bytes.get(at + 1..at + 3).unwrap_or(&[0, 0]);
                    let start = bytes.len().min(at + 3);
                    at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                    return Some((marker, &bytes[start..bytes.len().min(at)]));
                }
            }
        }
    })
}

/// What of a JPEG's frame decides how much memory its decoder takes.
pub(super) struct Frame {
    pub width: u32,
    pub height: u32,
    /// Horizontally and vertically, of each component.
    sampling: Vec<(u64, u64)>,
    /// Whether the whole image is held in coefficients until its last scan has come.
    held: bool,
}

impl Frame {
    /// The frame that comes before the first scan.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const PROGRESSIVE: u8 = 0xc2;
        let mut frame = None;
        for (marker, segment) in markers(bytes) {
            match marker {
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf => {
                    let [_, y, yy, x, xx, _, components @ ..] = segment else { return None };
                    let factors = components.as_chunks::<3>().0.iter();
                    frame = Some(Self {
                        width: u32::from(u16::from_be_bytes([*x, *xx])),
                        height: u32::from(u16::from_be_bytes([*y, *yy])),
                        sampling: factors
                            .map(|[_, both, _]| {
                                (u64::from(both >> 4).max(1), u64::from(both & 15).max(1))
                            })
                            .collect(),
                        held: marker == PROGRESSIVE,
                    });
                }
                START_OF_SCAN => {
                    let frame = frame.as_mut()?;
                    frame.held |=
                        segment.first().is_some_and(|n| usize::from(*n) < frame.sampling.len());
                    break;
                }
                _ => {}
            }
        }
        frame
    }

    /// How many there are.
    pub fn components(&self) -> usize {
        self.sampling.len()
    }

    /// The buffers that the decoder has at once, in bytes: the image of so many components, rows of samples in
    /// 16 bits, and where they are held, all coefficients in as many.
    pub fn buffers(&self, components: usize) -> Vec<u64> {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let most =
            self.sampling.iter().fold((1, 1), |most, of| (most.0.max(of.0), most.1.max(of.1)));
        let (units, unit_rows) = (width.div_ceil(8 * most.0), height.div_ceil(8 * most.1));
        let mut buffers = vec![width * height * components as u64, 16 * 8 * units * most.0];
        for &(across, down) in &self.sampling {
            let stride = 8 * units * across;
            buffers.push(2 * 8 * stride * down);
            if (across, down) != most {
                let larger = most.0.div_ceil(across) * most.1.div_ceil(down);
                buffers.extend([
                    4 * stride * down,
                    2 * 8 * stride * larger,
                    2 * stride * down * larger,
                ]);
            }
            if self.held {
                buffers.push(2 * 64 * units * across * unit_rows * down);
            }
        }
        buffers
    }
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
