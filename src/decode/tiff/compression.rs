//! Decompresses the bytes of a strip or tile to samples.

use std::io::Read;

use fax::Color;
use fax::decoder::{DecodeStatus, Group3Decoder, Group4Decoder, pels};
use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus};

use super::super::sniff::Format;
use super::super::{corrupt, unsupported};
use super::layout::Compression;
use crate::error::Result;

/// Fills `out`, rows of `row_bytes` bytes and `width` pixels, from `data`, whose excess is ignored.
///
/// # Errors
/// `corrupt_image` if `data` does not fill it.
pub fn expand(
    compression: Compression,
    data: &[u8],
    out: &mut [u8],
    row_bytes: usize,
    width: u32,
) -> Result<()> {
    let filled = match compression {
        Compression::None => {
            let filled = data.len().min(out.len());
            out[..filled].copy_from_slice(&data[..filled]);
            filled
        }
        Compression::PackBits => unpack_bits(data, out),
        Compression::Lzw => unpack_lzw(data, out)?,
        Compression::Deflate => inflate(data, out),
        Compression::Group3 | Compression::Group4 => {
            unpack_fax(compression, data, out, row_bytes, width)?
        }
        Compression::Jpeg => unreachable!("decoded elsewhere"),
    };
    if filled < out.len() {
        let what = format!("a strip or tile holds {filled} of {} bytes", out.len());
        return Err(corrupt(Format::Tiff, what));
    }
    Ok(())
}

/// PackBits: runs of one byte, and literal bytes.
fn unpack_bits(mut data: &[u8], out: &mut [u8]) -> usize {
    let mut filled = 0;
    while let [head, rest @ ..] = data {
        let room = out.len() - filled;
        if room == 0 {
            break;
        }
        match *head as i8 {
            -128 => data = rest,
            head @ 0.. => {
                let count = (head as usize + 1).min(rest.len());
                let taken = count.min(room);
                out[filled..filled + taken].copy_from_slice(&rest[..taken]);
                filled += taken;
                data = &rest[count..];
            }
            head => {
                let [byte, after @ ..] = rest else { break };
                let count = (1 - isize::from(head)) as usize;
                let taken = count.min(room);
                out[filled..filled + taken].fill(*byte);
                filled += taken;
                data = after;
            }
        }
    }
    filled
}

fn unpack_lzw(data: &[u8], out: &mut [u8]) -> Result<usize> {
    if let [0, second, ..] = data
        && second & 1 == 1
    {
        return Err(unsupported(Format::Tiff, "it is compressed with old-style LZW"));
    }
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut read, mut filled) = (0, 0);
    while filled < out.len() {
        let step = decoder.decode_bytes(&data[read..], &mut out[filled..]);
        read += step.consumed_in;
        filled += step.consumed_out;
        let goes_on = matches!(step.status, Ok(LzwStatus::Ok));
        if !goes_on || step.consumed_in + step.consumed_out == 0 {
            break;
        }
    }
    Ok(filled)
}

fn inflate(data: &[u8], out: &mut [u8]) -> usize {
    let mut decoder = ZlibDecoder::new(data);
    let mut filled = 0;
    while filled < out.len() {
        match decoder.read(&mut out[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => filled += more,
        }
    }
    filled
}

/// Decodes a fax: one bit per pixel, 1 for black.
fn unpack_fax(
    compression: Compression,
    data: &[u8],
    out: &mut [u8],
    row_bytes: usize,
    width: u32,
) -> Result<usize> {
    let Ok(width) = u16::try_from(width) else {
        return Err(unsupported(
            Format::Tiff,
            format!("its {width}-pixel rows are too long for a fax"),
        ));
    };
    let bytes = data.iter().copied().map(Ok::<u8, std::convert::Infallible>);
    let out_len = out.len();
    let mut rows = out.chunks_exact_mut(row_bytes);
    let mut filled = 0;
    // Damaged data may still decode to valid codes, for example to a row that is too long or runs
    // backwards.
    let is_row =
        |changes: &[u16]| changes.is_sorted() && changes.last().is_none_or(|last| *last <= width);
    let mut put = |changes: &[u16]| match rows.next() {
        Some(row) if is_row(changes) => {
            row.fill(0);
            for (x, colour) in pels(changes, width).enumerate() {
                row[x / 8] |= u8::from(colour == Color::Black) << (7 - x % 8);
            }
            filled += row_bytes;
            filled < out_len
        }
        _ => false,
    };
    match compression {
        Compression::Group3 => {
            let Ok(mut decoder) = Group3Decoder::new(bytes) else { return Ok(0) };
            loop {
                let status = decoder.advance();
                // The last row may have no end-of-line code.
                let has_row = status.is_ok() || !decoder.transitions().is_empty();
                let goes_on = has_row && put(decoder.transitions());
                if !goes_on || !matches!(status, Ok(DecodeStatus::Incomplete)) {
                    break;
                }
            }
        }
        _ => {
            let Ok(mut decoder) = Group4Decoder::new(bytes, width);
            while let Ok(DecodeStatus::Incomplete) = decoder.advance() {
                if !put(decoder.transition()) {
                    break;
                }
            }
        }
    }
    Ok(filled)
}
