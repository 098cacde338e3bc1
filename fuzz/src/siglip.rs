//! Builds a SigLIP's tokenizer from any `tokenizer.json`, and encodes a text. The input is the file, then an empty line,
//! then the text.

use super::{accept, limits};
use clip_wasm::model::siglip::cleaning::Cleaning;
use clip_wasm::model::siglip::vocabulary::of_checkpoint;

const CONTEXT: usize = 16;

/// Tries one input.
pub fn run(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let (file, text) = input.split_once("\n\n").unwrap_or((&input, "a photo of a cat"));
    let vocabulary = match of_checkpoint(file, &limits()) {
        Ok(vocabulary) => vocabulary,
        Err(error) => return accept(&error),
    };
    let size = vocabulary.size();
    let is_open_clips = bytes.last().is_some_and(|how| how % 4 == 0);
    let cleaning = if is_open_clips { Cleaning::OpenClip } else { Cleaning::Transformers };
    match vocabulary.tokenizer(CONTEXT, cleaning) {
        Ok(tokenizer) => {
            let tokens = tokenizer.encode(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((tokens.ids().len(), tokens.pooled()), (CONTEXT, CONTEXT - 1));
            assert!(tokens.ids().iter().all(|&id| (id as usize) < size), "{tokens:?} of {size}");
            assert_eq!(tokens.truncated(), tokens.count() > CONTEXT);
            assert_eq!(tokenizer.encode(text).expect("it was encoded before"), tokens);
        }
        Err(error) => accept(&error),
    }
}
