//! The chunks of a PNG, corrected where PIL reads them differently from the decoder.

use std::borrow::Cow;

use super::super::corrupt;
use super::super::sniff::Format;
use crate::error::Result;
use crate::memory;

const SIGNATURE_BYTES: usize = 8;
/// Length and type of a chunk, and the checksum after it.
const HEAD_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// The colour type of images with a palette.
const INDEXED: u8 = 3;
/// Maximum size of a palette.
const MAX_PALETTE_BYTES: usize = 3 * 256;
/// The palette PIL assumes if there is none.
const NO_PALETTE: [u8; 3] = [0; 3];

/// A chunk, and where it starts in the file.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    place: usize,
    pub kind: [u8; 4],
    pub body: &'a [u8],
}

impl Chunk<'_> {
    /// Where the next chunk starts.
    fn end(&self) -> usize {
        self.place + HEAD_BYTES + self.body.len() + CHECKSUM_BYTES
    }

    /// Whether a decoder that does not know it must give up; PIL skips it.
    fn is_unknown(&self) -> bool {
        self.kind[0].is_ascii_uppercase()
            && ![*b"IHDR", *b"PLTE", *b"IDAT", *b"IEND"].contains(&self.kind)
    }
}

/// The chunks of the file, up to the first truncated one.
pub fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = SIGNATURE_BYTES;
    std::iter::from_fn(move || {
        let &[a, b, c, d, ref kind @ ..] = bytes.get(at..)?.first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let body = bytes.get(at + HEAD_BYTES..)?.get(..length)?;
        let place = at;
        at = (at + HEAD_BYTES).checked_add(length)?.checked_add(CHECKSUM_BYTES)?;
        Some(Chunk { place, kind: *kind, body })
    })
}

/// The file in a form the decoder accepts: it has an end chunk and, if it is indexed, exactly one palette
/// of whole colours. Checks the chunks that decide what the image data means.
///
/// # Errors
/// `corrupt_image` if PIL refuses the file too; `low_memory`.
pub fn put_right(bytes: &[u8], colour: u8) -> Result<Cow<'_, [u8]>> {
    let (mut has_data, mut has_end) = (false, false);
    let mut end = SIGNATURE_BYTES;
    let mut palettes = Vec::new();
    let mut is_right = true;
    for chunk in chunks(bytes) {
        end = chunk.end();
        match &chunk.kind {
            b"IEND" => {
                has_end = true;
                break;
            }
            b"IDAT" => has_data = true,
            b"IHDR" | b"PLTE" | b"tRNS" | b"eXIf" if !has_data => check(bytes, chunk)?,
            _ => {}
        }
        if chunk.kind == *b"PLTE" {
            is_right &= !has_data && palettes.is_empty() && colour & 2 != 0;
            is_right &= chunk.body.len().is_multiple_of(3) && !chunk.body.is_empty();
            is_right &= chunk.body.len() <= MAX_PALETTE_BYTES;
            if !has_data {
                palettes.push(chunk.body);
            }
        }
        is_right &= !chunk.is_unknown();
    }
    // The file ends inside a chunk.
    if !has_end && (!has_data || bytes.len() >= end + HEAD_BYTES) {
        return Err(corrupt(Format::Png, "it ends inside a chunk"));
    }
    is_right &= colour != INDEXED || !palettes.is_empty();
    if is_right && has_end {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut whole = memory::reserved(bytes.len() as u64 + MAX_PALETTE_BYTES as u64 + 64)?;
    whole.extend_from_slice(&bytes[..SIGNATURE_BYTES]);
    for chunk in chunks(bytes).take_while(|chunk| chunk.kind != *b"IEND") {
        if chunk.is_unknown() || chunk.kind == *b"PLTE" {
            continue;
        }
        put(&mut whole, chunk.kind, chunk.body);
        if chunk.kind == *b"IHDR" && colour == INDEXED {
            // If there are several palettes, the last one counts.
            let palette = palettes.last().copied().unwrap_or_default();
            let colours = &palette[..palette.len().min(MAX_PALETTE_BYTES) / 3 * 3];
            put(&mut whole, *b"PLTE", if colours.is_empty() { &NO_PALETTE } else { colours });
        }
    }
    put(&mut whole, *b"IEND", &[]);
    Ok(Cow::Owned(whole))
}

fn check(bytes: &[u8], chunk: Chunk) -> Result<()> {
    let end = chunk.end() - CHECKSUM_BYTES;
    let checksum = crc32fast::hash(&bytes[chunk.place + 4..end]).to_be_bytes();
    if bytes.get(end..end + CHECKSUM_BYTES) != Some(&checksum) {
        let name = String::from_utf8_lossy(&chunk.kind);
        return Err(corrupt(Format::Png, format!("the checksum of {name} is wrong")));
    }
    Ok(())
}

/// The decoder ignores checksums.
fn put(whole: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) {
    whole.extend_from_slice(&(body.len() as u32).to_be_bytes());
    whole.extend_from_slice(&kind);
    whole.extend_from_slice(body);
    whole.extend_from_slice(&[0; CHECKSUM_BYTES]);
}
