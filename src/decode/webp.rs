//! WebP: lossy and lossless, with alpha, and the first frame of an animation.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError};

use super::sniff::Format;
use super::{DecodeOptions, RgbImage, samples};
use super::{check_header, corrupt, make_room, orientation, too_large, unsupported};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::memory;

/// Decodes a WebP like libwebp's `WebPAnimDecoder`, which PIL uses for still images too.
pub(super) fn decode(bytes: &[u8], options: DecodeOptions, limits: &Limits) -> Result<RgbImage> {
    let chunks = Chunks::of(bytes)?;
    let file = chunks.first_frame_unblended(bytes)?;
    let decoder = WebPDecoder::new(Cursor::new(&file[..])).map_err(from_image)?;
    let (width, height) = decoder.dimensions();
    check_header(Format::WebP, width, height, limits)?;
    if let Some((width, height)) = chunks.lossy {
        // The decoder compares this size with the other one only after it has allocated memory for it.
        check_header(Format::WebP, width, height, limits)?;
    }
    let pixels = u64::from(width) * u64::from(height);
    let has_alpha = decoder.color_type().has_alpha();
    let working = chunks.buffers(pixels, has_alpha);
    let (colour, total) = (decoder.color_type(), decoder.total_bytes());
    make_room(Format::WebP, &[&[total], &working[..]].concat(), limits)?;
    let mut data = memory::filled(total, 0)?;
    decoder.read_image(&mut data).map_err(from_image)?;
    let pixels = match colour {
        ColorType::Rgb8 => data,
        ColorType::Rgba8 => samples::rgba(data, options.alpha),
        other => return Err(unsupported(Format::WebP, format!("its pixel type is {other:?}"))),
    };
    let image = RgbImage { width, height, pixels };
    orientation::apply(image, options.orientation, chunks.exif, chunks.xmp)
}

/// What was found while walking the file's chunks.
struct Chunks<'a> {
    exif: Option<&'a [u8]>,
    xmp: Option<&'a [u8]>,
    /// Position of the flags of an animation's first frame.
    first_frame_flags: Option<usize>,
    /// The size stated by the lossy image, or by the first frame of an animation.
    lossy: Option<(u32, u32)>,
    /// Whether a lossy image has its alpha in a separate chunk.
    alpha: bool,
}

impl<'a> Chunks<'a> {
    /// Walks the chunks and refuses a file with a truncated one: the decoder allocates the size that a
    /// chunk claims before it reads it.
    fn of(bytes: &'a [u8]) -> Result<Self> {
        let cut_short = || corrupt(Format::WebP, "it ends before its last chunk");
        let size_at = |at: usize| -> Option<usize> {
            let size = bytes.get(at..)?.first_chunk()?;
            usize::try_from(u32::from_le_bytes(*size)).ok()
        };
        let end = size_at(4).and_then(|size| size.checked_add(8)).ok_or_else(cut_short)?;
        let file = bytes.get(..end).ok_or_else(cut_short)?;

        let mut chunks =
            Self { exif: None, xmp: None, first_frame_flags: None, lossy: None, alpha: false };
        let mut at = 12;
        while at + 8 <= file.len() {
            let size = size_at(at + 4).ok_or_else(cut_short)?;
            let stop = (at + 8).checked_add(size).ok_or_else(cut_short)?;
            let body = file.get(at + 8..stop).ok_or_else(cut_short)?;
            match &file[at..at + 4] {
                b"EXIF" => chunks.exif = chunks.exif.or(Some(body)),
                b"XMP " => chunks.xmp = chunks.xmp.or(Some(body)),
                b"ANMF" if chunks.first_frame_flags.is_none() && body.len() >= 16 => {
                    chunks.first_frame_flags = Some(at + 8 + 15);
                    chunks.look_into(&body[16..]);
                }
                b"VP8 " | b"ALPH" => chunks.look_into(&file[at..stop]),
                _ => {}
            }
            at = stop + size % 2;
        }
        Ok(chunks)
    }

    /// Records what the chunks of an image or of a frame state.
    fn look_into(&mut self, mut chunks: &[u8]) {
        while let Some((&[a, b, c, d, size @ ..], rest)) = chunks.split_first_chunk::<8>() {
            let size = u32::from_le_bytes(size) as usize;
            let body = &rest[..size.min(rest.len())];
            match &[a, b, c, d] {
                b"ALPH" => self.alpha = true,
                // A frame tag, a start code, and two sizes of 14 bits.
                b"VP8 " if self.lossy.is_none() => {
                    let edge = |at: usize| -> Option<u32> {
                        let edge = u16::from_le_bytes(*body.get(at..)?.first_chunk()?);
                        Some(u32::from(edge & 0x3fff))
                    };
                    self.lossy = edge(6).zip(edge(8));
                }
                _ => {}
            }
            chunks = rest.get(size.saturating_add(size % 2)..).unwrap_or(&[]);
        }
    }

    /// Sizes in bytes of the buffers that the decoder holds besides an image of `pixels` pixels.
    fn buffers(&self, pixels: u64, has_alpha: bool) -> Vec<u64> {
        let mut buffers = Vec::new();
        match self.lossy {
            Some((width, height)) => {
                // Luma, and two planes of chroma with half its width and height, in blocks.
                let blocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
                buffers.extend([256 * blocks, 64 * blocks, 64 * blocks]);
                if self.alpha {
                    buffers.extend([4 * pixels, pixels]);
                }
            }
            // Decodes into the image itself, or through an RGBA buffer if the image has no alpha.
            None if !has_alpha => buffers.push(4 * pixels),
            None => {}
        }
        if self.first_frame_flags.is_some() {
            // The canvas, and the frame, which may be as large.
            buffers.extend([4 * pixels, 4 * pixels]);
        }
        buffers
    }

    /// The file, with blending switched off for the first frame of an animation. libwebp does not blend
    /// that frame with the empty canvas; the decoder here would, and so lose the colour of transparent
    /// pixels.
    fn first_frame_unblended<'b>(&self, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>> {
        const DO_NOT_BLEND: u8 = 0b10;
        match self.first_frame_flags {
            Some(at) => {
                let mut bytes = memory::collected(bytes.len(), bytes.iter().copied())?;
                bytes[at] |= DO_NOT_BLEND;
                Ok(Cow::Owned(bytes))
            }
            None => Ok(Cow::Borrowed(bytes)),
        }
    }
}

fn from_image(error: ImageError) -> Error {
    match &error {
        ImageError::Unsupported(_) => unsupported(Format::WebP, &error),
        ImageError::Limits(_) => too_large(Format::WebP),
        _ => corrupt(Format::WebP, &error),
    }
    .with_source(error)
}
