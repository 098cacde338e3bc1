//! Which container a file is.

pub mod gguf;
pub mod safetensors;
pub mod torch;
pub mod weights;

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

/// Bytes that nobody wants are read all the same where there are no more of them than this between two
/// parts that are wanted: another request takes longer.
const NEAR: u64 = 256 << 10;

/// Joins parts of a file, given in their order, that lie near one another.
pub fn join_near(parts: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    join(parts, NEAR)
}

/// Joins parts of a file, given in their order, that are no more than `gap` bytes apart.
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

/// Enough of a file's start to tell what it is.
pub const SNIFF_BYTES: usize = 16;

/// Accepts the first bytes of a GGUF file.
///
/// # Errors
/// `not_a_model` or `unsupported_model`, naming what the file is instead.
pub fn expect_gguf(start: &[u8]) -> Result<()> {
    if start.starts_with(gguf::MAGIC) {
        return Ok(());
    }
    let other = "this is not a GGUF file: choose a CLIP model in GGUF form, or a checkpoint with its configuration and tokenizer";
    Err(refusal(start).unwrap_or_else(|| Error::new(ErrorKind::NotAModel, other)))
}

/// Accepts the first bytes of a safetensors file.
///
/// # Errors
/// `not_a_model` or `unsupported_model`, naming what the file is instead.
pub fn expect_safetensors(start: &[u8]) -> Result<()> {
    if is_safetensors(start) {
        return Ok(());
    }
    let other = "this is not a safetensors file, nor a checkpoint of torch: choose a CLIP model's weights in one of these forms";
    Err(refusal(start).unwrap_or_else(|| Error::new(ErrorKind::NotAModel, other)))
}

/// A length of eight bytes, then JSON.
fn is_safetensors(start: &[u8]) -> bool {
    start.get(8..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"))
}

/// What `torch.save` began its files with until torch 1.6: a pickle of its magic number. The first versions of all
/// wrote a tar archive.
const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// What a text is that stands where a file of a model was expected, as its first bytes tell.
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

/// What a file is that was taken for another, where its first bytes tell.
fn refusal(start: &[u8]) -> Option<Error> {
    if let Some(error) = refusal_of_text(start) {
        return Some(error);
    }
    let (kind, what) = if start.starts_with(gguf::MAGIC) {
        (ErrorKind::UnsupportedModel, "this is a GGUF file already: it needs no conversion")
    } else if is_safetensors(start) {
        (
            ErrorKind::UnsupportedModel,
            "this is a safetensors checkpoint: make a GGUF of it with `clip-wasm convert`, or load it with its configuration and tokenizer",
        )
    } else if start.starts_with(b"PK\x03\x04") {
        (
            ErrorKind::UnsupportedModel,
            "this is a zip archive or a PyTorch checkpoint: make a GGUF of a checkpoint with `clip-wasm convert`, or load it with its configuration and tokenizer",
        )
    } else if start.starts_with(LEGACY_TORCH) || start.get(257..262) == Some(b"ustar") {
        (
            ErrorKind::UnsupportedModel,
            "this is a PyTorch checkpoint of before torch 1.6: load it with a present torch, and save its state_dict with torch.save or as safetensors",
        )
    } else if start.starts_with(b"\x80") {
        (
            ErrorKind::UnsupportedModel,
            "this is a pickle, not a checkpoint as torch.save writes it: save its state_dict with torch.save or as safetensors",
        )
    } else if start.starts_with(b"\x08") {
        (
            ErrorKind::UnsupportedModel,
            "this looks like an ONNX file: use a GGUF, or the safetensors or pytorch_model.bin of the model it was made from",
        )
    } else {
        return None;
    };
    Some(Error::new(kind, what))
}
