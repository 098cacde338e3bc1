//! SigLIP and SigLIP 2 of fixed image sizes, as transformers' `SiglipModel` and open_clip publish them.

pub mod checkpoint;
pub mod cleaning;
pub mod gemma;
mod metadata;
pub mod names;
pub mod open_clip;
pub mod tokenizer;
mod tokenizer_json;
pub mod unigram;
pub mod vocabulary;

use crate::error::{Error, ErrorKind, Result};
use crate::memory;

/// Bytes for each token while a tokenizer is built: its string in two tables, and its merges, two or three each.
const BYTES_PER_TOKEN: u64 = 400;

/// Checks that there is memory to build a tokenizer with that many tokens.
///
/// # Errors
/// `low_memory`
pub(crate) fn make_room(tokens: usize) -> Result<()> {
    memory::probe(&[BYTES_PER_TOKEN * tokens as u64 / 4; 4])
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model's tokenizer is invalid: {what}; use another file");
    Error::new(ErrorKind::MalformedModel, message)
}
