//! The file formats that hold weights, and the detection of a file's format.

pub mod gguf;
pub mod safetensors;
pub mod torch;
pub mod weights;

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

/// If two required parts are at most this many bytes apart, the bytes between them are read too: a second
/// request takes longer.
const NEAR: u64 = 256 << 10;

/// Joins parts of a file, given in file order, that lie close together.
pub fn join_near(parts: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    join(parts, NEAR)
}

/// Joins parts of a file, given in file order, that are at most `gap` bytes apart.
pub fn join(parts: impl Iterator<Item = Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(part.end)
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// The number of bytes at a file's start that are enough to detect its format.
pub const SNIFF_BYTES: usize = 16;

/// Checks that the first bytes of a file are those of a GGUF file.
///
/// # Errors
/// `not_a_model` or `unsupported_model`; the message says what the file is instead.
pub fn expect_gguf(start: &[u8]) -> Result<()> {
    if start.starts_with(gguf::MAGIC) {
        return Ok(());
    }
    let other = "this is not a GGUF file: choose a CLIP model in GGUF format, or a checkpoint with its configuration and tokenizer";
    Err(refusal(start).unwrap_or_else(|| Error::new(ErrorKind::NotAModel, other)))
}

/// Checks that the first bytes of a file are those of a safetensors file.
///
/// # Errors
/// `not_a_model` or `unsupported_model`; the message says what the file is instead.
pub fn expect_safetensors(start: &[u8]) -> Result<()> {
    if is_safetensors(start) {
        return Ok(());
    }
    let other = "this is not a safetensors file and not a PyTorch checkpoint: choose a CLIP model's weights in one of these formats";
    Err(refusal(start).unwrap_or_else(|| Error::new(ErrorKind::NotAModel, other)))
}

/// A length of eight bytes, then JSON.
fn is_safetensors(start: &[u8]) -> bool {
    start.get(8..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"))
}

/// The first bytes of a file written by `torch.save` before torch 1.6: a pickle of its magic number. The
/// very first versions wrote a tar archive.
const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Says, from its first bytes, what a text file is that was passed as a model.
pub fn refusal_of_text(start: &[u8]) -> Option<Error> {
    let what = if start.is_empty() {
        "the file is empty"
    } else if start.trim_ascii_start().starts_with(b"<") {
        "this is a web page, not a model: check the address"
    } else if start.starts_with(b"version https://") {
        "this is a Git LFS pointer: download the file it points to"
    } else {
        return None;
    };
    Some(Error::new(ErrorKind::NotAModel, what))
}

/// Says, from its first bytes, what a file is that was passed as another kind.
fn refusal(start: &[u8]) -> Option<Error> {
    if let Some(error) = refusal_of_text(start) {
        return Some(error);
    }
    let (kind, what) = if start.starts_with(gguf::MAGIC) {
        (ErrorKind::UnsupportedModel, "this is already a GGUF file: it needs no conversion")
    } else if is_safetensors(start) {
        (
            ErrorKind::UnsupportedModel,
            "this is a safetensors checkpoint: convert it to GGUF with `clip-wasm convert`, or load it with its configuration and tokenizer",
        )
    } else if start.starts_with(b"PK\x03\x04") {
        (
            ErrorKind::UnsupportedModel,
            "this is a zip archive or a PyTorch checkpoint: convert a checkpoint to GGUF with `clip-wasm convert`, or load it with its configuration and tokenizer",
        )
    } else if start.starts_with(LEGACY_TORCH) || start.get(257..262) == Some(b"ustar") {
        (
            ErrorKind::UnsupportedModel,
            "this is a PyTorch checkpoint from before torch 1.6: load it with a current torch, and save its state_dict with torch.save or as safetensors",
        )
    } else if start.starts_with(b"\x80") {
        (
            ErrorKind::UnsupportedModel,
            "this is a pickle, but not a checkpoint written by torch.save: save its state_dict with torch.save or as safetensors",
        )
    } else if start.starts_with(b"\x08") {
        (
            ErrorKind::UnsupportedModel,
            "this looks like an ONNX file: use a GGUF file, or the safetensors or pytorch_model.bin file of the model it was exported from",
        )
    } else {
        return None;
    };
    Some(Error::new(kind, what))
}
