//! WebP: lossy and lossless, with alpha, and the first frame of an animation.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::webp::WebPDecoder;

use super::sniff::Format;
use super::{DecodeOptions, RgbImage, corrupt, from_decoder, orientation, raster};
use crate::error::Result;

/// Decodes a WebP as `WebPAnimDecoder` of libwebp does, which PIL uses for still images too.
pub(super) fn decode(bytes: &[u8], options: DecodeOptions) -> Result<RgbImage> {
    let chunks = Chunks::of(bytes)?;
    let file = chunks.first_frame_unblended(bytes);
    let decoder = WebPDecoder::new(Cursor::new(&file[..]))
        .map_err(|error| from_decoder(Format::WebP, error))?;
    let image = raster::read(Format::WebP, decoder, options.alpha, false)?;
    Ok(orientation::apply(image, options.orientation, chunks.exif, chunks.xmp))
}

/// What the walk over the chunks of the file finds.
struct Chunks<'a> {
    exif: Option<&'a [u8]>,
    xmp: Option<&'a [u8]>,
    /// Where the first frame of an animation keeps its flags.
    first_frame_flags: Option<usize>,
}

impl<'a> Chunks<'a> {
    /// Walks the chunks and refuses a file in which one is cut short: the decoder allocates what a
    /// chunk claims before it reads it.
    fn of(bytes: &'a [u8]) -> Result<Self> {
        let cut_short = || corrupt(Format::WebP, "it ends before its last chunk");
        let size_at = |at: usize| -> Option<usize> {
            let size = bytes.get(at..)?.first_chunk()?;
            usize::try_from(u32::from_le_bytes(*size)).ok()
        };
        let end = size_at(4).and_then(|size| size.checked_add(8)).ok_or_else(cut_short)?;
        let file = bytes.get(..end).ok_or_else(cut_short)?;

        let mut chunks = Self { exif: None, xmp: None, first_frame_flags: None };
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
                }
                _ => {}
            }
            at = stop + size % 2;
        }
        Ok(chunks)
    }

    /// The file with blending switched off for the first frame of an animation. libwebp does not
    /// blend it with the empty canvas; the decoder here would, which loses the colour of pixels
    /// that are transparent.
    fn first_frame_unblended<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        const DO_NOT_BLEND: u8 = 0b10;
        match self.first_frame_flags {
            Some(at) => {
                let mut bytes = bytes.to_vec();
                bytes[at] |= DO_NOT_BLEND;
                Cow::Owned(bytes)
            }
            None => Cow::Borrowed(bytes),
        }
    }
}
