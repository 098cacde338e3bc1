//! BMP, with its file header or, as on a clipboard, without it.
//!
//! The reference is PIL's `BmpImagePlugin`. PIL supports only some layouts of colour masks; here any layout
//! is read, by the same arithmetic.

use super::sniff::Format;
use super::{Alpha, RgbImage, check_header, corrupt, make_room, samples, unsupported};
use crate::error::Result;
use crate::limits::Limits;
use crate::memory;

/// The bytes before a BMP's own header. They mark the file as a BMP and hold the position of the pixels.
const FILE_HEADER: usize = 14;
/// Header sizes: `CORE` is the first version of OS/2, the others are later ones of Windows and OS/2.
const CORE: u32 = 12;
const SIZES: [u32; 7] = [CORE, 40, 52, 56, 64, 108, 124];
/// The smallest header whose masks include one for alpha.
const WITH_ALPHA_MASK: u32 = 56;

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

/// The header of a BMP.
struct Header {
    /// Where the header starts in the file, and its size, in bytes.
    start: usize,
    size: u32,
    width: u32,
    height: u32,
    is_top_down: bool,
    bits: u32,
    compression: u32,
    /// Number of colours in the palette.
    colours: u32,
}

/// Whether the bytes are a BMP without the file header.
pub(super) fn is_bare(bytes: &[u8]) -> bool {
    let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let planes_and_bits = match long(bytes, 0) {
        Some(CORE) => short(8).zip(short(10)),
        Some(size) if SIZES.contains(&size) => short(12).zip(short(14)),
        _ => None,
    };
    matches!(planes_and_bits, Some((1, 1 | 2 | 4 | 8 | 16 | 24 | 32)))
}

/// Decodes a BMP.
pub(super) fn decode(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let has_file_header = bytes.starts_with(b"BM");
    let header = Header::parse(bytes, if has_file_header { FILE_HEADER } else { 0 })?;
    let (width, height) = (header.width, header.height);
    check_header(Format::Bmp, width, height, limits)?;
    let stated = if has_file_header { long(bytes, 10).unwrap_or(0) as usize } else { 0 };
    let pixels = match header.compression {
        RAW | BITFIELDS if header.bits > 8 => {
            let masks = header.masks(bytes)?;
            let start = if stated == 0 { header.end_of_masks() } else { stated };
            let rows = header.rows(bytes, start)?;
            coloured(&header, masks, rows, alpha, limits)?
        }
        RAW => {
            let colours = header.palette(bytes)?;
            let rows = header.rows(bytes, header.start_of_indices(stated))?;
            let depth = header.bits as usize;
            let per_row = width as usize;
            let indices = rows.flat_map(|row| {
                (0..per_row).map(move |x| {
                    let shift = 8 - depth - x * depth % 8;
                    row[x * depth / 8] >> shift & (u8::MAX >> (8 - depth))
                })
            });
            painted(&header, indices, &colours, limits)?
        }
        RLE8 | RLE4 if header.bits <= 8 => {
            let colours = header.palette(bytes)?;
            let from = header.start_of_indices(stated).min(bytes.len());
            let count = u64::from(width) * u64::from(height);
            make_room(Format::Bmp, &[count, 3 * count], limits)?;
            let mut indices = unpack_runs(bytes, from, &header)?;
            if !header.is_top_down {
                let rows = indices.chunks_exact(width as usize).rev().flatten().copied();
                indices = memory::collected(indices.len(), rows)?;
            }
            painted(&header, indices.into_iter(), &colours, limits)?
        }
        BITFIELDS => return Err(corrupt(Format::Bmp, "it has both colour masks and a palette")),
        other => {
            return Err(unsupported(Format::Bmp, format!("its compression method is {other}")));
        }
    };
    Ok(RgbImage { width, height, pixels })
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Header {
    fn parse(bytes: &[u8], start: usize) -> Result<Self> {
        let cut_short = || corrupt(Format::Bmp, "it ends inside its header");
        let size = long(bytes, start).ok_or_else(cut_short)?;
        if !SIZES.contains(&size) {
            return Err(unsupported(Format::Bmp, format!("its header is {size} bytes long")));
        }
        let fields = bytes.get(start..).and_then(|rest| rest.get(..size as usize));
        let fields = fields.ok_or_else(cut_short)?;
        let short = |at: usize| u32::from(u16::from_le_bytes([fields[at], fields[at + 1]]));
        let long = |at: usize| long(fields, at).unwrap_or(0);
        let header = if size == CORE {
            let (width, height, bits) = (short(4), short(6), short(10));
            let colours = 1_u32.checked_shl(bits).unwrap_or(0);
            Self { start, size, width, height, is_top_down: false, bits, compression: RAW, colours }
        } else {
            // PIL tests for a negative height in this way.
            let is_top_down = fields[11] == 0xff;
            let height = if is_top_down { long(8).wrapping_neg() } else { long(8) };
            let bits = short(14);
            let colours = match long(32) {
                0 => 1_u32.checked_shl(bits).unwrap_or(0),
                colours => colours,
            };
            Self {
                start,
                size,
                width: long(4),
                height,
                is_top_down,
                bits,
                compression: long(16),
                colours,
            }
        };
        if !matches!(header.bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) {
            return Err(unsupported(Format::Bmp, format!("its pixels have {} bits", header.bits)));
        }
        Ok(header)
    }

    fn end(&self) -> usize {
        self.start + self.size as usize
    }

    /// The 40-byte header has its masks after it.
    fn end_of_masks(&self) -> usize {
        self.end() + if self.size == 40 && self.compression == BITFIELDS { 12 } else { 0 }
    }

    /// The masks of red, green, blue and alpha.
    fn masks(&self, bytes: &[u8]) -> Result<[u32; 4]> {
        match (self.compression, self.bits) {
            (BITFIELDS, _) => {
                let from = self.start + 40;
                let mask = |place: usize| long(bytes, from + 4 * place).unwrap_or(0);
                let alpha = if self.size >= WITH_ALPHA_MASK { mask(3) } else { 0 };
                let masks = [mask(0), mask(1), mask(2), alpha];
                let is_plain = |mask: u32| {
                    (mask >> mask.trailing_zeros().min(31)).wrapping_add(1).is_power_of_two()
                };
                match (masks, self.bits) {
                    ([0, 0, 0, 0], 32) => Ok([0xff_0000, 0xff00, 0xff, 0xff00_0000]),
                    _ if masks[..3].contains(&0)
                        || !masks.into_iter().all(|mask| mask == 0 || is_plain(mask)) =>
                    {
                        Err(corrupt(Format::Bmp, format!("its colour masks are {masks:x?}")))
                    }
                    _ => Ok(masks),
                }
            }
            (_, 16) => Ok([0x7c00, 0x3e0, 0x1f, 0]),
            _ => Ok([0xff_0000, 0xff00, 0xff, 0]),
        }
    }

    fn bytes_per_colour(&self) -> usize {
        if self.size == CORE { 3 } else { 4 }
    }

    /// Where the palette indices start. If the file says they start where the palette does, they follow the
    /// palette.
    fn start_of_indices(&self, stated: usize) -> usize {
        let palette = self.bytes_per_colour() * self.colours as usize;
        if stated == 0 || stated == FILE_HEADER + self.size as usize {
            self.end() + palette
        } else {
            stated
        }
    }

    /// The colour of each index, or black where the palette has none. If the palette is a ramp of greys, it
    /// is continued up to white, however short it is.
    fn palette(&self, bytes: &[u8]) -> Result<[[u8; 3]; 256]> {
        if self.colours > 256 {
            let what = format!("its palette has {} colours", self.colours);
            return Err(corrupt(Format::Bmp, what));
        }
        let table = bytes.get(self.end()..).unwrap_or_default();
        let entries = table.chunks_exact(self.bytes_per_colour()).take(self.colours as usize);
        let mut colours = [[0; 3]; 256];
        for (colour, entry) in colours.iter_mut().zip(entries) {
            *colour = [entry[2], entry[1], entry[0]];
        }
        let grey = |level: usize| [level as u8; 3];
        if self.colours > 2 && (0..self.colours as usize).all(|index| colours[index] == grey(index))
        {
            colours = std::array::from_fn(grey);
        }
        Ok(colours)
    }

    /// The rows of pixels, from the top. Each is padded to a multiple of four bytes; the last row's padding
    /// may be missing.
    fn rows<'a>(
        &self,
        bytes: &'a [u8],
        start: usize,
    ) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let stride = (u64::from(self.width) * u64::from(self.bits)).div_ceil(32) * 4;
        let row_bytes = (u64::from(self.width) * u64::from(self.bits)).div_ceil(8);
        let size = stride * u64::from(self.height - 1) + row_bytes;
        let data = bytes.get(start..).filter(|data| data.len() as u64 >= size);
        let data = data.ok_or_else(|| corrupt(Format::Bmp, "it ends before its last row"))?;
        let (stride, row_bytes) = (stride as usize, row_bytes as usize);
        let height = self.height as usize;
        let is_top_down = self.is_top_down;
        Ok((0..height).map(move |y| {
            let row = if is_top_down { y } else { height - 1 - y };
            &data[row * stride..][..row_bytes]
        }))
    }
}

/// The image of palette indices, which are ordered row by row from the top.
fn painted(
    header: &Header,
    indices: impl Iterator<Item = u8>,
    colours: &[[u8; 3]; 256],
    limits: &Limits,
) -> Result<Vec<u8>> {
    let count = u64::from(header.width) * u64::from(header.height);
    make_room(Format::Bmp, &[3 * count], limits)?;
    let mut pixels = memory::reserved(3 * count)?;
    indices.for_each(|index| pixels.extend_from_slice(&colours[usize::from(index)]));
    Ok(pixels)
}

/// Decodes pixels of 16, 24 or 32 bits; each channel has a mask.
fn coloured<'a>(
    header: &Header,
    masks: [u32; 4],
    rows: impl Iterator<Item = &'a [u8]>,
    alpha: Alpha,
    limits: &Limits,
) -> Result<Vec<u8>> {
    let count = u64::from(header.width) * u64::from(header.height);
    let channels = if masks[3] == 0 { 3 } else { 4 };
    make_room(Format::Bmp, &[channels as u64 * count], limits)?;
    let mut levels = memory::reserved(channels as u64 * count)?;
    let bytes_per_pixel = (header.bits / 8) as usize;
    // For each channel whose mask is a whole byte: which byte of the pixel.
    let place = |mask: u32| mask.trailing_zeros() as usize / 8;
    let places =
        masks.map(|mask| (0xff_u64 << (8 * place(mask)) == u64::from(mask)).then(|| place(mask)));
    if let ([Some(r), Some(g), Some(b), _], 3) = (places, channels) {
        for row in rows {
            let pixels = row.chunks_exact(bytes_per_pixel).take(header.width as usize);
            pixels.for_each(|pixel| levels.extend_from_slice(&[pixel[r], pixel[g], pixel[b]]));
        }
        return Ok(levels);
    }
    for row in rows {
        for bytes in row.chunks_exact(bytes_per_pixel).take(header.width as usize) {
            let pixel = bytes.iter().rev().fold(0, |pixel, byte| pixel << 8 | u32::from(*byte));
            levels.extend(masks[..channels].iter().map(|mask| {
                let shift = mask.trailing_zeros();
                let (level, most) = (u64::from((pixel & mask) >> shift), u64::from(mask >> shift));
                // Rounded down, like PIL's unpackers of 5 and 6 bits.
                (level * 255 / most) as u8
            }));
        }
    }
    Ok(if channels == 4 { samples::rgba(levels, alpha) } else { levels })
}

/// Decodes the runs of RLE4 or RLE8 to palette indices, in the file's order of rows. Skipped pixels get
/// index 0. Follows PIL's `BmpRleDecoder`, including what it does with runs that do not end at the end of a
/// row.
fn unpack_runs(bytes: &[u8], from: usize, header: &Header) -> Result<Vec<u8>> {
    let width = header.width as usize;
    let most = width * header.height as usize;
    let is_rle4 = header.compression == RLE4;
    let mut indices: Vec<u8> = memory::reserved(most as u64)?;
    let cut_short = || corrupt(Format::Bmp, "its data ends before the last row");
    let (mut at, mut x) = (from, 0);
    while indices.len() < most {
        let Some(&[count, byte]) = bytes.get(at..at + 2) else { return Err(cut_short()) };
        at += 2;
        let room = most - indices.len();
        match (usize::from(count), byte) {
            (0, 0) => {
                let rest = indices.len().next_multiple_of(width) - indices.len();
                indices.extend(std::iter::repeat_n(0, rest));
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let Some(&[right, up]) = bytes.get(at..at + 2) else { return Err(cut_short()) };
                at += 2;
                let skipped = usize::from(right) + usize::from(up) * width;
                indices.extend(std::iter::repeat_n(0, skipped.min(room)));
                x = indices.len() % width;
            }
            (0, count) => {
                let pixels = usize::from(count).min(room);
                let stored = if is_rle4 { pixels.div_ceil(2) } else { pixels };
                let data = bytes.get(at..at + stored).ok_or_else(cut_short)?;
                if is_rle4 {
                    indices
                        .extend(data.iter().flat_map(|both| [both >> 4, both & 15]).take(pixels));
                } else {
                    indices.extend_from_slice(data);
                }
                x += usize::from(count);
                at += stored;
                at += at % 2;
            }
            (count, byte) => {
                let pixels = if x + count > width { width.saturating_sub(x) } else { count };
                let both = if is_rle4 { [byte >> 4, byte & 15] } else { [byte; 2] };
                indices.extend(both.into_iter().cycle().take(pixels.min(room)));
                x += pixels;
            }
        }
    }
    indices.resize(most, 0);
    Ok(indices)
}
