//! A tokenizer of any vocabulary and merges, and a text through it. The input is a text: tokens, one a line, then
//! merges, one a line, then the text, each part but the last ended by an empty line.
#![no_main]

use clip_wasm::tokenizer::{Tokenizer, rebuild_merges};
use clip_wasm_fuzz::accept;
use libfuzzer_sys::fuzz_target;

/// The marks without which nothing is a vocabulary: added, but for one input in four.
const MARKS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

fuzz_target!(|bytes: &[u8]| {
    let how = bytes.last().copied().unwrap_or(0);
    let input = String::from_utf8_lossy(bytes);
    let mut parts = input.splitn(3, "\n\n");
    let mut lines = || -> Vec<String> {
        parts.next().unwrap_or_default().split('\n').map(String::from).collect()
    };
    let (mut tokens, merges) = (lines(), lines());
    let text = parts.next().unwrap_or_default();
    if how % 4 != 0 {
        tokens.extend(MARKS.map(String::from));
    }
    // A limit of the length of tokens is the loader's to keep.
    tokens.iter_mut().for_each(|token| token.truncate(token.floor_char_boundary(256)));
    let merges = if how % 8 < 4 { Some(merges) } else { None };
    let context = 1 + usize::from(how) % 9;

    let size = tokens.len();
    for (first, second) in rebuild_merges(&tokens) {
        assert!(tokens.contains(&format!("{first}{second}")), "{first:?} and {second:?}");
    }
    let tokenizer = match Tokenizer::from_vocabulary(tokens, merges, context) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return accept(&error),
    };
    let encoded = tokenizer.encode(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(encoded.ids().iter().all(|&id| (id as usize) < size), "{encoded:?} of {size}");
    assert!((2..=context).contains(&encoded.ids().len()), "{encoded:?}");
    assert!(encoded.count() >= encoded.ids().len() && encoded.end() < encoded.ids().len());
});
