//! GIF: the first frame, on the canvas PIL puts it on.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::sniff::Format;
use super::{Alpha, RgbImage, check_header, corrupt, make_room, too_large};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

/// Decodes the first frame. What the frame leaves bare has the colour of its transparent index, or
/// of index 0; where it reaches over the canvas, the canvas grows.
pub(super) fn decode(bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<RgbImage> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let most = NonZeroU64::new(limits.get(Limit::DecodeBytes)).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(most));
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(from_gif)?;
    let (width, height) = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(from_gif)?;
    let frame = frame.ok_or_else(|| corrupt(Format::Gif, "it has no frame"))?.clone();

    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let width = usize::from(width).max(left + frame_width);
    let height = usize::from(height).max(top + frame_height);
    check_header(Format::Gif, width as u32, height as u32, limits)?;
    if frame_width == 0 || frame_height == 0 {
        return Err(corrupt(Format::Gif, "its first frame is empty"));
    }

    // Neither edge has more than 17 bits.
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

/// The colour of each index. Those the palette leaves out are black, as in PIL.
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
            "there is no memory to decode this GIF image; close other pages or programs",
        ),
        _ => corrupt(Format::Gif, &error),
    }
    .with_source(error)
}
