//! What the samples of a TIFF mean, and their conversion to RGB, as in PIL's table `OPEN_INFO`.

use super::super::sniff::Format;
use super::super::tags::{Directory, tag};
use super::super::{Alpha, corrupt, samples, unsupported};
use super::layout::{Compression, Layout, SampleFormat, UNSPECIFIED};
use super::ycbcr::{self, Subsampling};
use crate::error::Result;
use crate::memory;

/// The value of `ExtraSamples` if colours are multiplied by alpha.
const ASSOCIATED: u64 = 1;

/// The colours of a pixel's samples.
pub enum Meaning {
    /// Grey levels; the lowest is white if `is_inverted`.
    Grey {
        is_inverted: bool,
        extra: Extra,
    },
    /// Indices into a palette. A sample after the index is ignored.
    Palette(Box<[[u8; 3]; 256]>),
    Rgb(Extra),
    Cmyk,
    YCbCr,
}

/// What follows the colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing, or something that is ignored.
    None,
    Alpha,
    /// Alpha, with colours multiplied by it.
    Associated,
}

impl Meaning {
    /// # Errors
    /// `unsupported_image` for a kind of pixel that is not supported; the message names it.
    pub fn of(directory: &Directory, layout: &Layout) -> Result<Self> {
        let photometric = directory.number(tag::PHOTOMETRIC_INTERPRETATION).unwrap_or(0);
        let colours = match photometric {
            0 | 1 | 3 => 1,
            2 | 6 | 8 => 3,
            5 => 4,
            other => {
                let what = format!("its photometric interpretation is {other}");
                return Err(unsupported(Format::Tiff, what));
            }
        };
        let extra =
            match (layout.samples.checked_sub(colours), directory.number(tag::EXTRA_SAMPLES)) {
                (None | Some(0), _) | (_, Some(UNSPECIFIED)) => Extra::None,
                (_, Some(ASSOCIATED)) => Extra::Associated,
                // If the extra sample is not described, PIL takes it as alpha in RGB, but not in grey.
                (_, None) if colours == 1 => Extra::None,
                _ => Extra::Alpha,
            };
        let meaning = match photometric {
            0 | 1 => Self::Grey { is_inverted: photometric == 0, extra },
            2 => Self::Rgb(extra),
            3 if layout.bits <= 8 => Self::Palette(Box::new(palette(directory, layout)?)),
            3 => {
                let what = format!("it has a palette and {}-bit samples", layout.bits);
                return Err(unsupported(Format::Tiff, what));
            }
            5 => Self::Cmyk,
            6 if layout.samples == 1 => Self::Grey { is_inverted: false, extra },
            6 => Self::YCbCr,
            _ => return Err(unsupported(Format::Tiff, "its pixels are CIE L*a*b*")),
        };
        meaning.check(layout, colours)?;
        Ok(meaning)
    }

    pub fn is_ycbcr(&self) -> bool {
        matches!(self, Self::YCbCr)
    }

    /// Refuses combinations of bits and samples that are not supported for the colours.
    fn check(&self, layout: &Layout, colours: usize) -> Result<()> {
        let is_fine = match self {
            Self::Grey { .. } if layout.samples == 1 => {
                matches!(
                    (layout.format, layout.bits),
                    (SampleFormat::Unsigned, _)
                        | (SampleFormat::Signed, 8 | 16 | 32)
                        | (SampleFormat::Float, 32)
                )
            }
            Self::Palette(_) if layout.samples == 1 => layout.format == SampleFormat::Unsigned,
            Self::YCbCr => layout.samples == 3 && layout.bits == 8,
            Self::Palette(_) => layout.bits == 8,
            _ => layout.format == SampleFormat::Unsigned && matches!(layout.bits, 8 | 16),
        };
        let has_differences = !layout.is_differenced || matches!(layout.bits, 8 | 16);
        let needed = if matches!(self, Self::Grey { .. }) { 1 } else { colours };
        if !is_fine || !has_differences || layout.samples < needed {
            let what = format!(
                "its pixels have {} samples of {} bits each ({:?})",
                layout.samples, layout.bits, layout.format
            );
            return Err(unsupported(Format::Tiff, what));
        }
        Ok(())
    }

    /// The subsampling of chroma, if libtiff makes the RGB: PIL leaves compressed data to it. `held` is the
    /// size of a strip or tile in bytes, `whole` the size it would have with one chroma pair per pixel.
    pub fn subsampling(
        &self,
        directory: &Directory,
        layout: &Layout,
        held: usize,
        whole: usize,
    ) -> Option<Subsampling> {
        let is_whole = layout.compression == Compression::None && held >= whole;
        (self.is_ycbcr() && !is_whole && !layout.is_planar).then(|| ycbcr::subsampling(directory))
    }

    /// Converts the samples that [`super::chunks::read`] returns to `[height, width, 3]`.
    pub fn to_rgb(&self, data: Vec<u8>, layout: &Layout, alpha: Alpha) -> Result<Vec<u8>> {
        match self {
            Self::Grey { is_inverted, extra: Extra::None } if layout.samples == 1 => {
                grey(data, layout, *is_inverted)
            }
            Self::Grey { extra, .. } => {
                let mut levels = first_samples(bytes(data, layout), layout.samples, 2);
                if *extra == Extra::None {
                    return samples::grey(&levels, 2);
                }
                if *extra == Extra::Associated && alpha != Alpha::Drop {
                    levels
                        .as_chunks_mut::<2>()
                        .0
                        .iter_mut()
                        .for_each(|pixel| divide_by_alpha(pixel));
                }
                samples::grey_alpha(levels, alpha)
            }
            Self::Palette(colours) => {
                let indices = first_samples(unpack(data, layout)?, layout.samples, 1);
                let rgb = indices.iter().flat_map(|&index| colours[usize::from(index)]);
                memory::collected(3 * indices.len(), rgb)
            }
            Self::Rgb(Extra::None) => Ok(first_samples(bytes(data, layout), layout.samples, 3)),
            Self::Rgb(extra) => {
                let mut levels = first_samples(bytes(data, layout), layout.samples, 4);
                if *extra == Extra::Associated {
                    levels
                        .as_chunks_mut::<4>()
                        .0
                        .iter_mut()
                        .for_each(|pixel| divide_by_alpha(pixel));
                }
                Ok(samples::rgba(levels, alpha))
            }
            Self::Cmyk => {
                let mut levels = first_samples(bytes(data, layout), layout.samples, 4);
                for pixel in levels.as_chunks_mut::<4>().0 {
                    let [r, g, b] = samples::cmyk_to_rgb(*pixel);
                    *pixel = [r, g, b, 0];
                }
                Ok(samples::first_three(levels))
            }
            Self::YCbCr if layout.compression == Compression::None => {
                let mut levels = data;
                levels
                    .as_chunks_mut()
                    .0
                    .iter_mut()
                    .for_each(|pixel| *pixel = ycbcr::pil_rgb(*pixel));
                Ok(levels)
            }
            // libjpeg, or libtiff's own conversion, has already made it RGB.
            Self::YCbCr => Ok(data),
        }
    }
}

/// Reads the colour map: all reds, then all greens, then all blues, 16 bits each.
fn palette(directory: &Directory, layout: &Layout) -> Result<[[u8; 3]; 256]> {
    let levels = directory.numbers(tag::COLOR_MAP);
    let (told, count) = (levels.clone().count(), 1 << layout.bits);
    if told != 3 * count {
        let what = format!("its colour map has {told} instead of {} levels", 3 * count);
        return Err(corrupt(Format::Tiff, what));
    }
    let mut colours = [[0; 3]; 256];
    for (place, level) in levels.enumerate() {
        colours[place % count][place / count] = (level >> 8) as u8;
    }
    Ok(colours)
}

/// One-sample levels as grey pixels. PIL treats more than 8 bits as plain numbers: it clips them to 0..=255
/// and does not invert them.
fn grey(data: Vec<u8>, layout: &Layout, is_inverted: bool) -> Result<Vec<u8>> {
    let count = layout.width as usize * layout.height as usize;
    let order = layout.byte_order;
    match (layout.bits, layout.format) {
        (1 | 2 | 4 | 8, _) => {
            let mut levels = unpack(data, layout)?;
            let step = 255 / (u8::MAX >> (8 - layout.bits));
            let invert = if is_inverted { 255 } else { 0 };
            levels.iter_mut().for_each(|level| *level = (*level * step) ^ invert);
            samples::grey(&levels, 1)
        }
        (12, _) => {
            let width = layout.width as usize;
            let rows = data.chunks_exact(layout.row_bytes(layout.width) as usize);
            let level = |row: &[u8], x: usize| {
                let at = x * 3 / 2;
                let two = u16::from_be_bytes([row[at], row[at + 1]]);
                if x.is_multiple_of(2) { two >> 4 } else { two & 0xfff }
            };
            let levels = rows.flat_map(|row| (0..width).map(move |x| level(row, x)));
            saturated(count, levels.map(f64::from))
        }
        (16, SampleFormat::Signed) => {
            let levels = data.as_chunks().0.iter().map(|two| order.short(*two) as i16);
            saturated(count, levels.map(f64::from))
        }
        (16, _) => {
            let levels = data.as_chunks().0.iter().map(|two| order.short(*two));
            saturated(count, levels.map(f64::from))
        }
        (_, format) => {
            let numbers = data.as_chunks().0.iter().map(|four| order.long(*four));
            // PIL keeps unsigned numbers as signed ones.
            let levels = numbers.map(|bits| match format {
                SampleFormat::Float => f64::from(f32::from_bits(bits)),
                _ => f64::from(bits as i32),
            });
            saturated(count, levels)
        }
    }
}

fn saturated(count: usize, levels: impl Iterator<Item = f64>) -> Result<Vec<u8>> {
    memory::collected(3 * count, levels.flat_map(|level| [level as u8; 3]))
}

/// Samples of 8 bits, or the high bytes of samples of 16.
fn bytes(data: Vec<u8>, layout: &Layout) -> Vec<u8> {
    use super::super::tags::ByteOrder;
    match (layout.bits, layout.byte_order) {
        (16, ByteOrder::Little) => samples::one_of(data, 2, 1),
        (16, ByteOrder::Big) => samples::one_of(data, 2, 0),
        _ => data,
    }
}

/// Unpacks samples of up to 8 bits, in rows that start on a byte, to one byte each.
fn unpack(packed: Vec<u8>, layout: &Layout) -> Result<Vec<u8>> {
    if layout.bits == 8 {
        return Ok(packed);
    }
    let (depth, width) = (layout.bits as usize, layout.width as usize);
    let mask = u8::MAX >> (8 - depth);
    let row = |row: &[u8], at: usize| row[at * depth / 8] >> (8 - depth - at * depth % 8) & mask;
    let rows = packed.chunks_exact((width * depth).div_ceil(8));
    let samples = rows.len() * width;
    memory::collected(samples, rows.flat_map(|of| (0..width).map(move |at| row(of, at))))
}

/// Keeps the first `kept` of each pixel's `count` samples, in place.
fn first_samples(mut data: Vec<u8>, count: usize, kept: usize) -> Vec<u8> {
    if count == kept {
        return data;
    }
    let pixels = data.len() / count;
    for pixel in 0..pixels {
        data.copy_within(pixel * count..pixel * count + kept, pixel * kept);
    }
    data.truncate(pixels * kept);
    data.shrink_to_fit();
    data
}

/// Undoes the multiplication of the colour by alpha, like PIL's `unpackRGBa`.
fn divide_by_alpha(pixel: &mut [u8]) {
    let Some((alpha, colour)) = pixel.split_last_mut() else { return };
    let alpha = u32::from(*alpha);
    for level in colour {
        *level = (u32::from(*level) * 255).checked_div(alpha).unwrap_or(0).min(255) as u8;
    }
}
