//! TIFF: the first image, in the kinds of pixels PIL opens too.

use std::borrow::Cow;
use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits as DecoderLimits};
use tiff::tags::{PhotometricInterpretation, Tag};
use tiff::{ColorType, TiffError};

use super::sniff::Format;
use super::{Alpha, Orientation, RgbImage};
use super::{check_header, corrupt, jpeg, make_room, orientation, samples};
use super::{too_large, unsupported};
use crate::error::{Error, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

type File<'a> = Decoder<Cursor<&'a [u8]>>;

/// The tag of an XMP packet.
const XMP: Tag = Tag::Unknown(700);

/// `ExtraSamples` says with this that there is something, which is not alpha.
const UNSPECIFIED: u16 = 0;
/// `ExtraSamples` says with this that colours are multiplied by alpha.
const ASSOCIATED_ALPHA: u16 = 1;

/// Decodes the first image of a TIFF, upright whatever is wanted: PIL turns it when it opens it.
pub(super) fn decode(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let directory = Directory::of(bytes);
    if directory.claims_more_than(bytes.len()) {
        return Err(corrupt(Format::Tiff, "it claims a tag of more values than it has bytes"));
    }
    if let (Some(width), Some(height)) = (directory.width, directory.height) {
        // Before the decoder sees it, which calls such a claim inconsistent.
        check_header(Format::Tiff, width, height, limits)?;
    }
    let bytes = directory.with_palette_as_grey(bytes)?;

    let most = usize::try_from(limits.get(Limit::DecodeBytes)).unwrap_or(usize::MAX);
    let mut of_decoder = DecoderLimits::default();
    of_decoder.decoding_buffer_size = most;
    of_decoder.intermediate_buffer_size = most;
    // A tag's values, strip offsets among them, stand in the file: they cannot be larger.
    of_decoder.ifd_value_size = bytes.len();
    let file = Decoder::new(Cursor::new(&bytes[..])).map_err(from_tiff)?;
    let mut file = file.with_limits(of_decoder);
    let (width, height) = file.dimensions().map_err(from_tiff)?;
    check_header(Format::Tiff, width, height, limits)?;

    let colour = match file.colortype().map_err(from_tiff)? {
        ColorType::Gray(depth) if directory.palette_at.is_some() => ColorType::Palette(depth),
        colour => colour,
    };
    if numbers(&mut file, Tag::SampleFormat)?.iter().any(|&format| format != 1) {
        return Err(unsupported(Format::Tiff, "its samples are signed or floating-point"));
    }
    let mut buffers = vec![decoded_bytes(colour, width, height)];
    buffers.extend(jpeg_buffers(&mut file, &bytes, limits)?);
    make_room(Format::Tiff, &buffers, limits)?;
    let pixels = read_rgb(&mut file, colour, width as usize, alpha)?;
    if pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(corrupt(Format::Tiff, "it holds another number of pixels than it says"));
    }
    let image = RgbImage { width, height, pixels };
    match numbers(&mut file, Tag::Orientation)?.first() {
        Some(&orientation) => orientation::apply_value(image, orientation),
        None => {
            let xmp = file.get_tag_u8_vec(XMP).ok();
            orientation::apply(image, Orientation::Exif, None, xmp.as_deref())
        }
    }
}

/// What the decoder gives, in bytes: rows of samples, each row from a byte on.
fn decoded_bytes(colour: ColorType, width: u32, height: u32) -> u64 {
    let bits = u64::from(colour.bit_depth()) * u64::from(colour.num_samples());
    (u64::from(width) * bits).div_ceil(8) * u64::from(height)
}

/// What the largest of those strips or tiles takes, in bytes, that are JPEGs with sizes of their own.
fn jpeg_buffers(file: &mut File, bytes: &[u8], limits: &Limits) -> Result<Vec<u64>> {
    const JPEG: u16 = 7;
    let mut largest = Vec::new();
    if numbers(file, Tag::Compression)?.first() != Some(&JPEG) {
        return Ok(largest);
    }
    for tag in [Tag::StripOffsets, Tag::TileOffsets] {
        let offsets = file.find_tag_unsigned_vec::<u64>(tag).map_err(from_tiff)?;
        for offset in offsets.unwrap_or_default() {
            let strip = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
            let Some(frame) = strip.and_then(jpeg::Frame::of) else { continue };
            check_header(Format::Tiff, frame.width, frame.height, limits)?;
            let buffers = frame.buffers(frame.components());
            if buffers.iter().sum::<u64>() > largest.iter().sum() {
                largest = buffers;
            }
        }
    }
    Ok(largest)
}

/// What has to be known of the first directory before the decoder reads it. Of BigTIFF, whose entries
/// are larger, only how many values they claim.
#[derive(Default)]
struct Directory {
    /// The most values that an entry claims.
    most_values: u64,
    width: Option<u32>,
    height: Option<u32>,
    /// Where the file says that its pixels are indices into a palette.
    palette_at: Option<usize>,
}

impl Directory {
    fn of(bytes: &[u8]) -> Self {
        const SHORT: u16 = 3;
        let big_endian = bytes.starts_with(b"MM");
        let short = |at: usize| -> Option<u16> {
            let short = *bytes.get(at..)?.first_chunk()?;
            Some(if big_endian { u16::from_be_bytes(short) } else { u16::from_le_bytes(short) })
        };
        let long = |at: usize| -> Option<u32> {
            let long = *bytes.get(at..)?.first_chunk()?;
            Some(if big_endian { u32::from_be_bytes(long) } else { u32::from_le_bytes(long) })
        };
        let mut directory = Self::default();
        if short(2) == Some(43) {
            let quad = |at: usize| -> Option<u64> {
                let quad = *bytes.get(at..)?.first_chunk()?;
                Some(if big_endian { u64::from_be_bytes(quad) } else { u64::from_le_bytes(quad) })
            };
            let start = quad(8).and_then(|start| usize::try_from(start).ok());
            let entries = start.and_then(|start| bytes.get(start.checked_add(8)?..));
            let counts = (0..entries.map_or(0, <[u8]>::len) / 20)
                .zip(1..=start.and_then(quad).unwrap_or(0))
                .filter_map(|(entry, _)| quad(start? + 8 + 20 * entry + 4));
            directory.most_values = counts.max().unwrap_or(0);
            return directory;
        }
        let (Some(42), Some(start)) = (short(2), long(4)) else { return directory };
        let count = short(start as usize).unwrap_or(0);
        for entry in 0..usize::from(count) {
            let at = start as usize + 2 + 12 * entry;
            let (Some(tag), Some(kind)) = (short(at), short(at + 2)) else { break };
            directory.most_values = directory.most_values.max(long(at + 4).unwrap_or(0).into());
            let value = if kind == SHORT { short(at + 8).map(u32::from) } else { long(at + 8) };
            match Tag::from_u16_exhaustive(tag) {
                Tag::ImageWidth => directory.width = value,
                Tag::ImageLength => directory.height = value,
                Tag::PhotometricInterpretation if kind == SHORT => {
                    let palette = PhotometricInterpretation::RGBPalette.to_u16();
                    directory.palette_at = (short(at + 8) == Some(palette)).then_some(at + 8);
                }
                _ => {}
            }
        }
        directory
    }

    /// Whether an entry claims more values than fit into so many bytes. The decoder makes room for all of them
    /// before it reads one.
    fn claims_more_than(&self, bytes: usize) -> bool {
        self.most_values > bytes as u64
    }

    /// The decoder refuses palettes, but reads their indices as grey.
    fn with_palette_as_grey<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let Some(at) = self.palette_at else { return Ok(Cow::Borrowed(bytes)) };
        let grey = PhotometricInterpretation::BlackIsZero.to_u16();
        let big_endian = bytes.starts_with(b"MM");
        let mut bytes = memory::collected(bytes.len(), bytes.iter().copied())?;
        let value = if big_endian { grey.to_be_bytes() } else { grey.to_le_bytes() };
        bytes[at..at + 2].copy_from_slice(&value);
        Ok(Cow::Owned(bytes))
    }
}

/// The values of a tag of small numbers; none where it is missing.
fn numbers(file: &mut File, tag: Tag) -> Result<Vec<u16>> {
    Ok(file.find_tag_unsigned_vec(tag).map_err(from_tiff)?.unwrap_or_default())
}

fn read_rgb(file: &mut File, colour: ColorType, width: usize, alpha: Alpha) -> Result<Vec<u8>> {
    match colour {
        ColorType::Gray(8) => samples::grey(&read_bytes(file, colour)?, 1),
        ColorType::Gray(16) => {
            let mut values = read_words(file, colour)?;
            // PIL does not invert 16-bit grey, the decoder does.
            let photometric = numbers(file, Tag::PhotometricInterpretation)?;
            if photometric.first() == Some(&PhotometricInterpretation::WhiteIsZero.to_u16()) {
                values.iter_mut().for_each(|value| *value = !*value);
            }
            samples::saturate(values.into_iter())
        }
        ColorType::Gray(depth @ (1 | 2 | 4)) => {
            let levels = unpack(&read_bytes(file, colour)?, depth, width)?;
            let step = 255 / ((1 << depth) - 1);
            let rgb = levels.iter().flat_map(|level| [level * step; 3]);
            memory::collected(3 * levels.len(), rgb)
        }
        ColorType::Palette(depth @ (1 | 2 | 4 | 8)) => {
            let indices = unpack(&read_bytes(file, colour)?, depth, width)?;
            let map = numbers(file, Tag::ColorMap)?;
            let plane = map.len() / 3;
            let colours: [[u8; 3]; 256] = std::array::from_fn(|index| match index < plane {
                true => [0, 1, 2].map(|channel| (map[channel * plane + index] >> 8) as u8),
                false => [0; 3],
            });
            let rgb = indices.iter().flat_map(|&index| colours[usize::from(index)]);
            memory::collected(3 * indices.len(), rgb)
        }
        // Whatever the second sample is, PIL reads the first.
        ColorType::GrayA(8 | 16) | ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } => {
            let mut pixels = read_bytes(file, colour)?;
            match numbers(file, Tag::ExtraSamples)?.first() {
                None | Some(&UNSPECIFIED) => return samples::grey(&pixels, 2),
                Some(&ASSOCIATED_ALPHA) if alpha != Alpha::Drop => {
                    pixels
                        .as_chunks_mut::<2>()
                        .0
                        .iter_mut()
                        .for_each(|pixel| divide_by_alpha(pixel));
                }
                _ => {}
            }
            samples::grey_alpha(pixels, alpha)
        }
        ColorType::RGB(8 | 16) => read_bytes(file, colour),
        ColorType::RGBA(8 | 16) => {
            let mut pixels = read_bytes(file, colour)?;
            match numbers(file, Tag::ExtraSamples)?.first() {
                Some(&UNSPECIFIED) => return Ok(samples::first_three(pixels)),
                Some(&ASSOCIATED_ALPHA) => {
                    pixels
                        .as_chunks_mut::<4>()
                        .0
                        .iter_mut()
                        .for_each(|pixel| divide_by_alpha(pixel));
                }
                _ => {}
            }
            Ok(samples::rgba(pixels, alpha))
        }
        ColorType::CMYK(8 | 16) => {
            let mut pixels = read_bytes(file, colour)?;
            for pixel in pixels.as_chunks_mut::<4>().0 {
                let [r, g, b] = samples::cmyk_to_rgb(*pixel);
                *pixel = [r, g, b, 0];
            }
            Ok(samples::first_three(pixels))
        }
        other => Err(unsupported(Format::Tiff, format!("its pixels are {other:?}"))),
    }
}

/// The samples as bytes, interleaved: of 16 bits the high ones.
fn read_bytes(file: &mut File, colour: ColorType) -> Result<Vec<u8>> {
    match read_interleaved(file, colour)? {
        DecodingResult::U8(bytes) => Ok(bytes),
        DecodingResult::U16(words) => {
            memory::collected(words.len(), words.iter().map(|word| (word >> 8) as u8))
        }
        _ => Err(unsupported(Format::Tiff, "its samples are not of 8 or 16 bits")),
    }
}

fn read_words(file: &mut File, colour: ColorType) -> Result<Vec<u16>> {
    match read_interleaved(file, colour)? {
        DecodingResult::U16(words) => Ok(words),
        _ => Err(unsupported(Format::Tiff, "its samples are not of 16 bits")),
    }
}

fn read_interleaved(file: &mut File, colour: ColorType) -> Result<DecodingResult> {
    let mut result = DecodingResult::U8(Vec::new());
    let layout = file.read_image_to_buffer(&mut result).map_err(from_tiff)?;
    if result.as_buffer(0).as_bytes().len() < layout.complete_len {
        return Err(too_large(Format::Tiff));
    }
    if layout.planes <= 1 {
        return Ok(result);
    }
    let planes = usize::from(colour.num_samples());
    match result {
        DecodingResult::U8(bytes) if colour.bit_depth() == 8 => {
            Ok(DecodingResult::U8(interleave(&bytes, planes)?))
        }
        DecodingResult::U16(words) => Ok(DecodingResult::U16(interleave(&words, planes)?)),
        _ => Err(unsupported(Format::Tiff, "its planes are not of 8 or 16 bits")),
    }
}

/// Planes that lie one after the other to pixels.
fn interleave<T: Copy>(samples: &[T], planes: usize) -> Result<Vec<T>> {
    let stride = samples.len() / planes;
    let pixel = |at| (0..planes).map(move |plane| samples[plane * stride + at]);
    memory::collected(samples.len(), (0..stride).flat_map(pixel))
}

/// Samples of less than a byte, in rows that start on one, to a byte each.
fn unpack(packed: &[u8], depth: u8, width: usize) -> Result<Vec<u8>> {
    let depth = usize::from(depth);
    let mask = ((1_u16 << depth) - 1) as u8;
    let row = |row: &[u8], at: usize| row[at * depth / 8] >> (8 - depth - at * depth % 8) & mask;
    let rows = packed.chunks_exact((width * depth).div_ceil(8));
    let samples = rows.len() * width;
    memory::collected(samples, rows.flat_map(|of| (0..width).map(move |at| row(of, at))))
}

/// The colour before it was multiplied by alpha, as PIL's `unpackRGBa`.
fn divide_by_alpha(pixel: &mut [u8]) {
    let Some((alpha, colour)) = pixel.split_last_mut() else { return };
    let alpha = u32::from(*alpha);
    for level in colour {
        *level = (u32::from(*level) * 255).checked_div(alpha).unwrap_or(0).min(255) as u8;
    }
}

fn from_tiff(error: TiffError) -> Error {
    match &error {
        TiffError::UnsupportedError(_) => unsupported(Format::Tiff, &error),
        TiffError::LimitsExceeded => too_large(Format::Tiff),
        _ => corrupt(Format::Tiff, &error),
    }
    .with_source(error)
}
