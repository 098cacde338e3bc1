//! GIF: the first frame, drawn on the same canvas as in PIL.

use std::borrow::Cow;
use std::io::Read;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::sniff::Format;
use super::{Alpha, RgbImage, check_header, corrupt, make_room, too_large};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// Decodes the first frame. Pixels that the frame does not cover get the colour of its transparent index,
/// or of index 0. If the frame extends beyond the canvas, the canvas grows.
pub(super) fn decode(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let most = NonZeroU64::new(limits.get(Limit::DecodeBytes)).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(most));
    options.allow_unknown_blocks(true);
    let (head, rest) = with_palette(bytes);
    let mut decoder = options.read_info(head.chain(rest)).map_err(from_gif)?;
    let (width, height) = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(from_gif)?;
    let frame = frame.ok_or_else(|| corrupt(Format::Gif, "it has no frames"))?.clone();

    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let width = usize::from(width).max(left + frame_width);
    let height = usize::from(height).max(top + frame_height);
    check_header(Format::Gif, width as u32, height as u32, limits)?;
    if frame_width == 0 || frame_height == 0 {
        return Err(corrupt(Format::Gif, "its first frame is empty"));
    }

    // No overflow: the edges have at most 17 bits.
    let of_frame = frame_width as u64 * frame_height as u64;
    let of_canvas = 3 * width as u64 * height as u64;
    make_room(Format::Gif, &[of_frame, of_canvas], limits)?;
    let mut indices = memory::filled(of_frame, 0)?;
    let mut colours = colours(frame.palette.as_deref().or(decoder.global_palette()));
    if let (Some(index), Some(background)) = (frame.transparent, alpha.background()) {
        colours[usize::from(index)] = [background; 3];
    }
    decoder.read_into_buffer(&mut indices).map_err(from_gif)?;

    let bare = colours[usize::from(frame.transparent.unwrap_or(0))];
    let mut pixels = memory::filled(of_canvas, 0)?;
    pixels.as_chunks_mut().0.fill(bare);
    let rows = pixels.chunks_exact_mut(width * 3).skip(top);
    for (row, indices) in rows.zip(indices.chunks_exact(frame_width)) {
        for (pixel, &index) in row.as_chunks_mut().0[left..].iter_mut().zip(indices) {
            *pixel = colours[usize::from(index)];
        }
    }
    Ok(RgbImage { width: width as u32, height: height as u32, pixels })
}

/// The file in two parts. If it has no global palette, a palette of greys is inserted, because PIL then
/// takes the indices as grey levels.
fn with_palette(bytes: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    const HEADER_BYTES: usize = 13;
    const FLAGS: usize = 10;
    // There is a palette, of 2 to the power of 7 + 1 colours.
    const HAS_PALETTE: u8 = 0x80;
    const SIZE: u8 = 7;
    match bytes.split_at_checked(HEADER_BYTES) {
        Some((header, rest)) if header[FLAGS] & HAS_PALETTE == 0 => {
            let greys = (0..=255).flat_map(|level| [level; 3]);
            let mut head: Vec<u8> = header.iter().copied().chain(greys).collect();
            head[FLAGS] |= HAS_PALETTE | SIZE;
            (Cow::Owned(head), rest)
        }
        _ => (Cow::Borrowed(bytes), &[]),
    }
}

/// The colour of each index. Indices without a palette entry are black, as in PIL.
fn colours(palette: Option<&[u8]>) -> [[u8; 3]; 256] {
    let mut colours = [[0; 3]; 256];
    let palette = palette.unwrap_or_default().as_chunks().0;
    colours.iter_mut().zip(palette).for_each(|(colour, entry)| *colour = *entry);
    colours
}

fn from_gif(error: DecodingError) -> Error {
    match error {
        DecodingError::MemoryLimit => too_large(Format::Gif),
        DecodingError::OutOfMemory => Error::new(
            ErrorKind::LowMemory,
            "there is not enough memory to decode this GIF image; close other pages or programs",
        ),
        _ => corrupt(Format::Gif, &error),
    }
    .with_source(error)
}
