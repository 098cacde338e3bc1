//! Turns the strips or tiles of a TIFF into interleaved samples.

use std::borrow::Cow;

use super::super::jpeg;
use super::super::sniff::Format;
use super::super::tags::{ByteOrder, Directory, tag};
use super::super::{corrupt, make_room, unsupported};
use super::compression::expand;
use super::layout::{Compression, Layout};
use super::meaning::Meaning;
use super::ycbcr;
use crate::error::Result;
use crate::limits::Limits;
use crate::memory;

/// A TIFF whose layout and colours have been read.
pub struct Source<'a> {
    pub file: &'a [u8],
    pub directory: &'a Directory<'a>,
    pub layout: &'a Layout,
    pub meaning: &'a Meaning,
    pub limits: &'a Limits,
}

/// The part of the image that a strip or tile covers, in pixels.
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    /// Which sample it holds, if each sample has strips or tiles of its own.
    plane: usize,
}

/// The samples of a strip or tile, in rows of `row_bytes` bytes.
struct Chunk {
    samples: Vec<u8>,
    row_bytes: usize,
}

/// The samples of the image, interleaved by pixel. Each row starts on a byte; each sample has
/// [`Layout::bits`] bits, in the file's byte order.
pub fn read(source: &Source) -> Result<Vec<u8>> {
    let Source { file, directory, layout, meaning, limits } = *source;
    if layout.is_planar && !layout.bits.is_multiple_of(8) {
        let what = format!("it has separate planes of {}-bit samples", layout.bits);
        return Err(unsupported(Format::Tiff, what));
    }
    let planes = if layout.is_planar { layout.samples as u64 } else { 1 };
    let row_bytes = layout.row_bytes(layout.width) * planes;
    let total = row_bytes * u64::from(layout.height);
    if layout.compression == Compression::None && total > file.len() as u64 && !meaning.is_ycbcr() {
        let what = format!("{} bytes cannot hold {total} bytes of samples", file.len());
        return Err(corrupt(Format::Tiff, what));
    }
    let of_chunk = layout.row_bytes(layout.chunk_width) * u64::from(layout.chunk_height);
    let pixels = u64::from(layout.width) * u64::from(layout.height);
    // The RGB image is only allocated after the strips have been freed.
    make_room(Format::Tiff, &[total, of_chunk.max(3 * pixels)], limits)?;
    let mut samples = memory::filled(total, 0)?;
    let offset_tag = if layout.is_tiled { tag::TILE_OFFSETS } else { tag::STRIP_OFFSETS };
    let count_tag = if layout.is_tiled { tag::TILE_BYTE_COUNTS } else { tag::STRIP_BYTE_COUNTS };
    let mut counts = directory.numbers(count_tag);
    let mut offsets = directory.numbers(offset_tag);
    let chunks = layout.chunks_in_plane();
    if chunks == 1 && !layout.is_planar && layout.compression == Compression::None {
        // If there are several strips that each cover the image, PIL reads the last one.
        let last = offsets.clone().count().saturating_sub(1);
        offsets = directory.numbers(offset_tag);
        if last > 0 {
            offsets.nth(last - 1);
        }
    }
    for index in 0..chunks * planes as usize {
        let offset = offsets.next().ok_or_else(|| {
            corrupt(
                Format::Tiff,
                format!("it has only {index} of {} strips or tiles", chunks * planes as usize),
            )
        })?;
        let count =
            counts.next().filter(|count| *count > 0 && layout.compression != Compression::None);
        let data = data_at(file, offset, count);
        let place = place(index, layout);
        let chunk = decode(data, &place, source)?;
        copy(&chunk, &place, layout, &mut samples, row_bytes as usize);
    }
    Ok(samples)
}

/// The bytes of a strip or tile that lie within the file; up to the end of the file if their number is not
/// stated.
fn data_at(file: &[u8], offset: u64, count: Option<u64>) -> &[u8] {
    let within = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(file.len());
    let end = count.map_or(file.len(), |count| within(offset.saturating_add(count)));
    &file[within(offset)..end.max(within(offset))]
}

fn place(index: usize, layout: &Layout) -> Place {
    let (plane, index) = (index / layout.chunks_in_plane(), index % layout.chunks_in_plane());
    let (width, height) = (layout.width as usize, layout.height as usize);
    let (chunk_width, chunk_height) = (layout.chunk_width as usize, layout.chunk_height as usize);
    let x = index % layout.across() * chunk_width;
    let y = index / layout.across() * chunk_height;
    Place { x, y, width: chunk_width.min(width - x), height: chunk_height.min(height - y), plane }
}

fn decode(data: &[u8], place: &Place, source: &Source) -> Result<Chunk> {
    let Source { directory, layout, meaning, .. } = *source;
    if layout.compression == Compression::Jpeg {
        return decode_jpeg(data, place, source);
    }
    // The last strip ends with the image; a tile does not.
    let rows = if layout.is_tiled { layout.chunk_height as usize } else { place.height };
    let row_bytes = layout.row_bytes(layout.chunk_width) as usize;
    let data = in_order(data, layout)?;
    if let Some(subsampling) = meaning.subsampling(directory, layout, data.len(), row_bytes * rows)
    {
        let size = (layout.chunk_width as usize, rows);
        let stored = ycbcr::stored_bytes(size, subsampling);
        let mut samples = memory::filled(stored as u64, 0)?;
        expand(layout.compression, &data, &mut samples, stored, layout.chunk_width)?;
        let samples = ycbcr::to_rgb(&samples, size, subsampling, directory)?;
        return Ok(Chunk { samples, row_bytes });
    }
    let mut samples = memory::filled((row_bytes * rows) as u64, 0)?;
    expand(layout.compression, &data, &mut samples, row_bytes, layout.chunk_width)?;
    if layout.is_differenced {
        samples.chunks_exact_mut(row_bytes).for_each(|row| add_up(row, layout));
    }
    Ok(Chunk { samples, row_bytes })
}

/// The data, with the bits of each byte in the usual order.
fn in_order<'a>(data: &'a [u8], layout: &Layout) -> Result<Cow<'a, [u8]>> {
    if !layout.is_bit_reversed {
        return Ok(Cow::Borrowed(data));
    }
    let reversed = data.iter().map(|byte| byte.reverse_bits());
    Ok(Cow::Owned(memory::collected(data.len(), reversed)?))
}

/// Undoes the predictor: each sample is stored as the difference from the one to its left.
fn add_up(row: &mut [u8], layout: &Layout) {
    let step = layout.samples_in_chunk();
    match layout.bits {
        8 => {
            for at in step..row.len() {
                row[at] = row[at].wrapping_add(row[at - step]);
            }
        }
        16 => {
            let order = layout.byte_order;
            let samples = row.as_chunks_mut::<2>().0;
            for at in step..samples.len() {
                let sum = order.short(samples[at]).wrapping_add(order.short(samples[at - step]));
                samples[at] = match order {
                    ByteOrder::Little => sum.to_le_bytes(),
                    ByteOrder::Big => sum.to_be_bytes(),
                };
            }
        }
        _ => unreachable!("refused when the layout was read"),
    }
}

/// Decodes a JPEG strip or tile, with or without its own tables. Like libtiff, takes the colour space from
/// the TIFF's tags, not from the JPEG.
fn decode_jpeg(data: &[u8], place: &Place, source: &Source) -> Result<Chunk> {
    let Source { directory, layout, meaning, limits, .. } = *source;
    if layout.bits != 8 || (meaning.is_ycbcr() && layout.is_planar) {
        let what = format!("it has JPEG data with {}-bit samples or in planes", layout.bits);
        return Err(unsupported(Format::Tiff, what));
    }
    let tables = directory.bytes(tag::JPEG_TABLES).unwrap_or_default();
    let whole = jpeg::with_tables(tables, data, meaning.is_ycbcr())?;
    let frame = jpeg::Frame::of(&whole);
    let frame = frame.ok_or_else(|| corrupt(Format::Tiff, "a strip or tile is not a JPEG"))?;
    check_frame(&frame, place, layout)?;
    let samples = jpeg::read(&whole, &frame, limits)?;
    Ok(Chunk { samples, row_bytes: frame.width as usize * layout.samples_in_chunk() })
}

fn check_frame(frame: &jpeg::Frame, place: &Place, layout: &Layout) -> Result<()> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    if width < place.width
        || height < place.height
        || frame.sampling.len() != layout.samples_in_chunk()
    {
        let what = format!(
            "a JPEG of {width} x {height} pixels and {} components stands in for {} x {} pixels and {} components",
            frame.sampling.len(),
            place.width,
            place.height,
            layout.samples_in_chunk()
        );
        return Err(corrupt(Format::Tiff, what));
    }
    // A JPEG much larger than its place would be decoded in vain.
    let most = (layout.chunk_width.max(16) as usize, layout.chunk_height.max(16) as usize);
    if width > most.0.next_multiple_of(16) || height > most.1.next_multiple_of(16) {
        let what = format!("a strip or tile is a JPEG of {width} x {height} pixels");
        return Err(corrupt(Format::Tiff, what));
    }
    Ok(())
}

/// Copies a strip or tile to its place in the image.
fn copy(chunk: &Chunk, place: &Place, layout: &Layout, image: &mut [u8], row_bytes: usize) {
    let bits = layout.bits as usize * layout.samples_in_chunk();
    let rows = image.chunks_exact_mut(row_bytes).skip(place.y).take(place.height);
    for (row, samples) in rows.zip(chunk.samples.chunks_exact(chunk.row_bytes)) {
        if layout.is_planar {
            let size = layout.bits as usize / 8;
            let pixels =
                row.chunks_exact_mut(size * layout.samples).skip(place.x).take(place.width);
            for (pixel, sample) in pixels.zip(samples.chunks_exact(size)) {
                pixel[place.plane * size..][..size].copy_from_slice(sample);
            }
        } else {
            // Tile widths are such that each tile starts on a byte.
            let count = (place.width * bits).div_ceil(8);
            row[place.x * bits / 8..][..count].copy_from_slice(&samples[..count]);
        }
    }
}
