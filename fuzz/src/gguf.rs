//! Loads a GGUF file of arbitrary bytes in one piece and in many.

use super::{Random, load, outcome, pieces};
use clip_wasm::format::gguf::MAGIC;

/// Tries one input.
pub fn run(file: &[u8]) {
    let whole = outcome(load([file]), "ab b");
    let parts = outcome(load(pieces(file, &mut Random::of_end(file))), "ab b");
    if file.starts_with(MAGIC) {
        assert_eq!(whole, parts, "a file loads the same in pieces of any size");
    } else {
        // The error depends on the first piece, because only that is used to detect what else the file is.
        assert!(whole.iter().chain(&parts).all(Result::is_err));
    }
}
