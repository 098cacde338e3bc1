//! A GGUF file of any bytes, loaded in one piece and in many.

use super::{Random, load, outcome, pieces};
use clip_wasm::format::gguf::MAGIC;

/// Tries one input.
pub fn run(file: &[u8]) {
    let whole = outcome(load([file]), "ab b");
    let parts = outcome(load(pieces(file, &mut Random::of_end(file))), "ab b");
    if file.starts_with(MAGIC) {
        assert_eq!(whole, parts, "a file loads alike in pieces of any size");
    } else {
        // What it is instead is told by the first piece, as far as that goes.
        assert!(whole.iter().chain(&parts).all(Result::is_err));
    }
}
