//! The tokenizer of SigLIP 1 against Hugging Face transformers (tests/reference/siglip.py).

use clip_wasm::model::siglip::cleaning::Cleaning;
use clip_wasm::model::siglip::vocabulary::{Vocabulary, of_checkpoint};
use clip_wasm::{ClipEncoder, ErrorKind, Limits};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::fixture;
use crate::support::seeded::{SIGLIPS, Sizes};
use crate::support::siglip::{Layout, converted_with};

/// A tokenizer, and its ids of texts.
#[derive(Deserialize)]
struct Expected {
    tokenizer: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    /// Without the ends after them, of which there are as many as fill the context.
    ids: Vec<u32>,
}

/// What is changed in the file, and what the error says.
type Change = (&'static dyn Fn(&mut Value), &'static str);

const CONTEXT: usize = 64;
const END: u32 = 1;

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn ids_are_those_of_transformers() {
    for (name, size, unknown) in
        [("siglip/unigram.json", 1500, true), ("siglip/unigram-bytes.json", 900, false)]
    {
        let Expected { tokenizer, cases } = expected(name);
        assert!(cases.len() > 400);
        let vocabulary = of_checkpoint(&tokenizer.to_string(), &Limits::default()).unwrap();
        assert!(matches!(vocabulary, Vocabulary::Unigram(_)));
        assert_eq!(vocabulary.size(), size);
        let tokenizer = vocabulary.tokenizer(CONTEXT, Cleaning::Transformers).unwrap();
        for Case { text, ids } in &cases {
            let tokens = tokenizer.encode(text).unwrap();
            let (own, ends) = tokens.ids().split_at(ids.len());
            assert_eq!(own, ids, "{text:?}");
            assert!(ends.iter().all(|id| *id == END), "{text:?}");
            assert_eq!((tokens.ids().len(), tokens.pooled()), (CONTEXT, CONTEXT - 1));
            assert_eq!(tokens.truncated(), tokens.count() > CONTEXT);
        }
        // Where each byte has a token, only a text that says <unk> has it.
        let has_unknown =
            cases.iter().any(|case| case.ids.contains(&2) && !case.text.contains("<unk>"));
        assert_eq!(has_unknown, unknown, "{name}");
    }
}

#[test]
fn a_converted_file_has_the_same_ids() {
    for (name, vocabulary) in [("siglip/unigram.json", 1500), ("siglip/unigram-bytes.json", 900)] {
        let Expected { tokenizer, cases } = expected(name);
        let folder = tempfile::tempdir().unwrap();
        let (_, sizes) = SIGLIPS[1];
        let sizes = Sizes { vocabulary, ..sizes };
        let layout = Layout::Alone("text_model", true);
        let file = converted_with(&tokenizer.to_string(), &sizes, layout, "q8_0", folder.path());
        let encoder = ClipEncoder::open(file).unwrap();
        for Case { text, ids } in &cases {
            assert_eq!(&encoder.tokenize(text).unwrap().ids()[..ids.len()], ids, "{text:?}");
        }
        assert_eq!(encoder.embed_text("a dog", true).unwrap().values().len(), sizes.text.width);
    }
}

#[test]
fn a_long_text_of_marks_is_searched_once() {
    let Expected { tokenizer, .. } = expected("siglip/unigram.json");
    let vocabulary = of_checkpoint(&tokenizer.to_string(), &Limits::default()).unwrap();
    let tokenizer = vocabulary.tokenizer(CONTEXT, Cleaning::Transformers).unwrap();
    // Searched anew after each mark, it would take minutes.
    let tokens = tokenizer.encode(&"<unk>".repeat(190_000)).unwrap();
    assert_eq!(tokens.count(), 190_001);
    assert!(tokens.truncated());
}

#[test]
fn other_tokenizers_are_refused_by_name() {
    let Expected { tokenizer, .. } = expected("siglip/unigram-bytes.json");
    let unsupported: [Change; 6] = [
        (&|file| file["normalizer"] = json!({"type": "NFC"}), "normalizer"),
        (&|file| file["normalizer"]["normalizers"][1]["content"] = json!(" "), "normalizer"),
        (&|file| file["pre_tokenizer"]["prepend_scheme"] = json!("never"), "pre_tokenizer"),
        (&|file| file["pre_tokenizer"] = Value::Null, "pre_tokenizer"),
        (&|file| file["padding"] = json!({"pad_token": "<pad>", "pad_id": 0}), "<pad>"),
        (&|file| file["added_tokens"][0]["content"] = json!("<extra>"), "<extra>"),
    ];
    let malformed: [Change; 8] = [
        (&|file| file["model"]["unk_id"] = Value::Null, "<unk>"),
        (&|file| file["model"]["vocab"][1][0] = json!("end"), "added token"),
        (&|file| file["model"]["vocab"][500][0] = json!("</s>"), "</s>"),
        (&|file| file["model"]["vocab"][500] = file["model"]["vocab"][501].clone(), "twice"),
        (&|file| file["model"]["vocab"][3][0] = json!("<0x>"), "bytes"),
        (&|file| file["model"]["vocab"][500] = json!(["a"]), "tokenizer.json"),
        (&|file| file["normalizer"] = charsmap("#"), "base64"),
        (&|file| file["normalizer"] = charsmap("/////w=="), "charsmap"),
    ];
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut file = tokenizer.clone();
        change(&mut file);
        let vocabulary = of_checkpoint(&file.to_string(), &Limits::default());
        vocabulary.and_then(|vocabulary| vocabulary.check()).unwrap_err()
    };
    for (change, says) in unsupported {
        let error = refused(change);
        assert_eq!(error.kind(), ErrorKind::UnsupportedModel, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    for (change, says) in malformed {
        let error = refused(change);
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

fn charsmap(encoded: &str) -> Value {
    json!({"type": "Precompiled", "precompiled_charsmap": encoded})
}
