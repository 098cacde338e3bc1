//! GIF: the first frame, on the canvas PIL puts it on.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::sniff::Format;
use super::{Alpha, MAX_DECODED_BYTES, RgbImage, check_header, corrupt, too_large, zeroed};
use crate::error::{Error, Result};

/// Decodes the first frame. What the frame leaves bare has the colour of its transparent index, or
/// of index 0; where it reaches over the canvas, the canvas grows.
pub(super) fn decode(bytes: &[u8], alpha: Alpha) -> Result<RgbImage> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        MAX_DECODED_BYTES.try_into().expect("the limit is not zero"),
    ));
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(from_gif)?;
    let (width, height) = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(from_gif)?;
    let frame = frame.ok_or_else(|| corrupt(Format::Gif, "it has no frame"))?.clone();

    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let width = usize::from(width).max(left + frame_width);
    let height = usize::from(height).max(top + frame_height);
    check_header(Format::Gif, width as u32, height as u32)?;
    if frame_width == 0 || frame_height == 0 {
        return Err(corrupt(Format::Gif, "its first frame is empty"));
    }

    let mut indices = zeroed(Format::Gif, frame_width * frame_height)?;
    let mut colours = colours(frame.palette.as_deref().or(decoder.global_palette()));
    if let (Some(index), Some(background)) = (frame.transparent, alpha.background()) {
        colours[usize::from(index)] = [background; 3];
    }
    decoder.read_into_buffer(&mut indices).map_err(from_gif)?;

    let bare = colours[usize::from(frame.transparent.unwrap_or(0))];
    let mut pixels = zeroed(Format::Gif, width * height * 3)?;
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
        DecodingError::OutOfMemory | DecodingError::MemoryLimit => too_large(Format::Gif),
        _ => corrupt(Format::Gif, &error),
    }
    .with_source(error)
}
