//! How the samples of a TIFF are arranged and stored.

use super::super::sniff::Format;
use super::super::tags::{ByteOrder, Directory, tag};
use super::super::{corrupt, unsupported};
use crate::error::Result;

/// The value of `ExtraSamples` for an extra sample that is not alpha.
pub const UNSPECIFIED: u64 = 0;

/// More than any supported pixel has; further samples would be ignored.
const MAX_SAMPLES: u64 = 8;

/// How the bits of a sample are interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleFormat {
    Unsigned,
    Signed,
    Float,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    PackBits,
    Lzw,
    Deflate,
    Group3,
    Group4,
    Jpeg,
}

/// The sizes of an image and of its strips or tiles.
pub struct Layout {
    pub width: u32,
    pub height: u32,
    /// Bits per sample.
    pub bits: u32,
    pub format: SampleFormat,
    /// Samples per pixel that are read.
    pub samples: usize,
    /// Whether each sample has strips or tiles of its own.
    pub is_planar: bool,
    /// Size of a strip or tile in pixels.
    pub chunk_width: u32,
    pub chunk_height: u32,
    pub is_tiled: bool,
    pub compression: Compression,
    /// Whether each sample is stored as the difference from the one to its left.
    pub is_differenced: bool,
    /// Whether the bits of each byte are in reverse order.
    pub is_bit_reversed: bool,
    pub byte_order: ByteOrder,
}

impl Layout {
    /// # Errors
    /// `corrupt_image` for an invalid layout, `unsupported_image` for an unsupported one, which the message
    /// names.
    pub fn of(directory: &Directory) -> Result<Self> {
        let edge = |tag| directory.number(tag).and_then(|edge| u32::try_from(edge).ok());
        let size = edge(tag::IMAGE_WIDTH).zip(edge(tag::IMAGE_LENGTH));
        let (width, height) = size.ok_or_else(|| corrupt(Format::Tiff, "it has no size"))?;
        let is_planar = directory.number(tag::PLANAR_CONFIGURATION) == Some(2);
        let is_tiled = directory.find(tag::STRIP_OFFSETS).is_none();
        let (chunk_width, chunk_height) = if is_tiled {
            let size = edge(tag::TILE_WIDTH).zip(edge(tag::TILE_LENGTH));
            size.filter(|(width, height)| *width > 0 && *height > 0)
                .ok_or_else(|| corrupt(Format::Tiff, "it has no strips and no tile size"))?
        } else {
            let rows = directory.number(tag::ROWS_PER_STRIP).unwrap_or(u64::from(height));
            (width, rows.clamp(1, u64::from(height).max(1)) as u32)
        };
        let (bits, samples) = bits_and_samples(directory, is_planar)?;
        let format = match directory.number(tag::SAMPLE_FORMAT) {
            None | Some(1) => SampleFormat::Unsigned,
            Some(2) => SampleFormat::Signed,
            Some(3) => SampleFormat::Float,
            Some(other) => {
                return Err(unsupported(Format::Tiff, format!("its sample format is {other}")));
            }
        };
        let is_differenced = match directory.number(tag::PREDICTOR) {
            None | Some(1) => false,
            Some(2) => true,
            Some(other) => {
                return Err(unsupported(Format::Tiff, format!("its predictor is {other}")));
            }
        };
        let compression = compression(directory)?;
        Ok(Self {
            width,
            height,
            bits,
            format,
            samples,
            is_planar: is_planar && samples > 1,
            chunk_width,
            chunk_height,
            is_tiled,
            compression,
            // Only these two codecs support a predictor.
            is_differenced: is_differenced
                && matches!(compression, Compression::Lzw | Compression::Deflate),
            is_bit_reversed: directory.number(tag::FILL_ORDER) == Some(2),
            byte_order: directory.byte_order,
        })
    }

    /// Number of samples per pixel that one strip or tile holds.
    pub fn samples_in_chunk(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Number of bytes in a row of `width` pixels within a strip or tile.
    pub fn row_bytes(&self, width: u32) -> u64 {
        (u64::from(width) * u64::from(self.bits) * self.samples_in_chunk() as u64).div_ceil(8)
    }

    /// Number of strips or tiles side by side.
    pub fn across(&self) -> usize {
        self.width.div_ceil(self.chunk_width) as usize
    }

    /// Number of strips or tiles in a plane.
    pub fn chunks_in_plane(&self) -> usize {
        self.across() * self.height.div_ceil(self.chunk_height) as usize
    }
}

/// The bits per sample and samples per pixel, resolved like PIL if the tags contradict each other: surplus
/// values are ignored, and a single number of bits counts for all samples.
fn bits_and_samples(directory: &Directory, is_planar: bool) -> Result<(u32, usize)> {
    let mut samples = directory.number(tag::SAMPLES_PER_PIXEL).unwrap_or(1);
    let mut extra = directory.numbers(tag::EXTRA_SAMPLES);
    if is_planar && extra.clone().next().is_some() && extra.all(|extra| extra == UNSPECIFIED) {
        // In planes of their own they need not be read.
        samples = samples.saturating_sub(directory.numbers(tag::EXTRA_SAMPLES).count() as u64);
    }
    if !(1..=MAX_SAMPLES).contains(&samples) {
        return Err(unsupported(Format::Tiff, format!("its pixels have {samples} samples")));
    }
    let mut bits = directory.numbers(tag::BITS_PER_SAMPLE).take(samples as usize);
    let first = bits.next().unwrap_or(1);
    if !matches!(first, 1 | 2 | 4 | 8 | 12 | 16 | 32) || bits.any(|bits| bits != first) {
        let bits: Vec<u64> = directory.numbers(tag::BITS_PER_SAMPLE).take(8).collect();
        return Err(unsupported(Format::Tiff, format!("its samples have {bits:?} bits")));
    }
    Ok((first as u32, samples as usize))
}

fn compression(directory: &Directory) -> Result<Compression> {
    let refuse =
        |what: &str| Err(unsupported(Format::Tiff, format!("it is compressed with {what}")));
    Ok(match directory.number(tag::COMPRESSION).unwrap_or(1) {
        1 => Compression::None,
        2 => return refuse("CCITT's modified Huffman code"),
        3 if directory.number(tag::T4_OPTIONS).unwrap_or(0) & 1 == 1 => {
            return refuse("CCITT's two-dimensional Group 3");
        }
        3 => Compression::Group3,
        4 => Compression::Group4,
        5 => Compression::Lzw,
        6 => return refuse("old-style JPEG"),
        7 => Compression::Jpeg,
        8 | 32946 => Compression::Deflate,
        32773 => Compression::PackBits,
        34925 => return refuse("LZMA"),
        50000 => return refuse("Zstandard"),
        50001 => return refuse("WebP"),
        other => return refuse(&format!("method {other}")),
    })
}
