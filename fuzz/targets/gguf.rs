//! A GGUF file of any bytes, loaded in one piece and in many.
#![no_main]

use clip_wasm::format::gguf::MAGIC;
use clip_wasm_fuzz::{Random, load, outcome, pieces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let whole = outcome(load([file]), "ab b");
    let parts = outcome(load(pieces(file, &mut Random::of_end(file))), "ab b");
    if file.starts_with(MAGIC) {
        assert_eq!(whole, parts, "a file loads alike in pieces of any size");
    } else {
        // What it is instead is told by the first piece, as far as that goes.
        assert!(whole.iter().chain(&parts).all(Result::is_err));
    }
});
