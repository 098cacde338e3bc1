//! Builds a tokenizer from any vocabulary, merges and added tokens, and encodes a text. The input is text:
//! tokens, one per line, then merges, one per line, then the text to encode; each part but the last ends
//! with an empty line.

use super::accept;
use clip_wasm::model::added::AddedToken;
use clip_wasm::model::clip::tokenizer::{Tokenizer, Vocabulary};
use clip_wasm::model::config::Pooling;

/// The marks that every vocabulary needs: added, except for one input in four.
const MARKS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// Tries one input.
pub fn run(bytes: &[u8]) {
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
    // The loader enforces the limit on the length of tokens, so the target does it here.
    tokens.iter_mut().for_each(|token| token.truncate(token.floor_char_boundary(256)));
    let merges = if how % 8 < 4 { Some(merges) } else { None };
    let context = 1 + usize::from(how) % 9;

    let size = tokens.len();
    // Adds tokens at any position; one in eight has a different text than in the vocabulary.
    let added = tokens.iter().enumerate().filter(|(id, _)| (id * 7 + usize::from(how)) % 5 == 0);
    let added = added.map(|(id, token)| {
        let bit = |of: usize| (usize::from(how) + id) >> of & 1 == 1;
        let other = if (id + usize::from(how)) % 8 == 0 { "x" } else { "" };
        let added: AddedToken = serde_json::from_value(serde_json::json!({
            "id": id, "content": format!("{token}{other}"), "special": bit(0), "normalized": !bit(0), "lstrip": bit(1),
            "rstrip": bit(2), "single_word": bit(3),
        }))
        .expect("it is one");
        added
    });
    let added = if how % 3 == 0 { added.collect() } else { Vec::new() };
    let vocabulary = Vocabulary { tokens, merges, added };
    for (first, second) in vocabulary.rebuild_merges() {
        let joined = format!("{first}{second}");
        assert!(vocabulary.tokens.contains(&joined), "{first:?} and {second:?}");
    }
    let pooling = if how % 2 == 0 { Pooling::Eos } else { Pooling::Argmax };
    let tokenizer = match Tokenizer::new(vocabulary, context, pooling) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return accept(&error),
    };
    let encoded = tokenizer.encode(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(encoded.ids().iter().all(|&id| (id as usize) < size), "{encoded:?} of {size}");
    assert!((2..=context).contains(&encoded.ids().len()), "{encoded:?}");
    assert!(encoded.count() >= encoded.ids().len() && encoded.pooled() < encoded.ids().len());
}
