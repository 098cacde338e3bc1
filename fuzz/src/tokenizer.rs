//! Encodes any text with the tokenizer of the published vocabulary.

use std::path::Path;
use std::sync::LazyLock;

use clip_wasm::Limits;
use clip_wasm::model::clip::tokenizer::Tokenizer;
use clip_wasm::model::clip::vocabulary;
use clip_wasm::model::config::Pooling;

const CONTEXT: usize = 77;
const START: u32 = 49_406;
const END: u32 = 49_407;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let data = std::env::var("CLIP_TEST_DATA").unwrap_or_else(|_| "target/test-data".into());
    let path = Path::new(&data).join("tokenizer.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = serde_json::from_str(&text).expect("it is JSON");
    let vocabulary =
        vocabulary::of_checkpoint(&file, &Limits::default()).expect("it is a vocabulary");
    Tokenizer::new(vocabulary, CONTEXT, Pooling::Eos).expect("it is CLIP's")
});

/// Builds the tokenizer first: it takes seconds, which must not count for any input.
pub fn prepare() {
    LazyLock::force(&TOKENIZER);
}

/// Tries one input.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let tokens = TOKENIZER.encode(&text).unwrap_or_else(|error| panic!("{error}"));
    let ids = tokens.ids();
    assert!((2..=CONTEXT).contains(&ids.len()), "{} tokens", ids.len());
    assert!(ids.iter().all(|&id| id <= END), "{ids:?}");
    assert_eq!((ids[0], ids[ids.len() - 1]), (START, END), "{ids:?}");
    assert_eq!(ids.iter().position(|&id| id == END), Some(tokens.pooled()), "{ids:?}");
    assert!(tokens.count() >= ids.len() && tokens.truncated() == (tokens.count() > CONTEXT));
    assert!(tokens.truncated() || tokens.count() == ids.len());
    assert_eq!(TOKENIZER.encode(&text).expect("it was encoded before"), tokens);
    // Spaces at the ends make no difference.
    assert_eq!(TOKENIZER.encode(&format!(" {text}\n")).expect("as before"), tokens);
}
