//! Token ids against Hugging Face's CLIP tokenizer (tests/reference/tokens.py).

use crate::support::reliability::record;
use crate::support::{data, fixture};
use clip_wasm::model::clip::tokenizer::{Tokenizer, Vocabulary};
use clip_wasm::model::config::Pooling;
use clip_wasm::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::Value;

const CONTEXT: usize = 77;

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    end: usize,
    /// Number of tokens before truncation.
    count: usize,
}

/// The published vocabulary in id order, and its merges.
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let file: Value =
        serde_json::from_str(&std::fs::read_to_string(data("tokenizer.json")).unwrap()).unwrap();
    let entries = file["model"]["vocab"].as_object().unwrap().iter();
    let mut entries: Vec<_> = entries.map(|(token, id)| (id.as_u64(), token.clone())).collect();
    entries.sort();
    let merges = file["model"]["merges"].as_array().unwrap().iter();
    let merges =
        merges.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    (entries.into_iter().map(|(_, token)| token).collect(), merges.collect())
}

fn tokenizer(
    tokens: Vec<String>,
    merges: Option<Vec<String>>,
    context_length: usize,
) -> Result<Tokenizer> {
    let vocabulary = Vocabulary { tokens, merges, added: Vec::new() };
    Tokenizer::new(vocabulary, context_length, Pooling::Eos)
}

/// Checks all texts and returns how many there are.
fn check(tokenizer: &Tokenizer) -> usize {
    let text = std::fs::read_to_string(fixture("tokens.json")).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap();
    assert!(expected.cases.len() >= 250);
    let failures: Vec<String> =
        expected.cases.iter().filter_map(|case| difference(tokenizer, case)).collect();
    assert!(failures.is_empty(), "{} texts differ:\n{}", failures.len(), failures.join("\n"));
    expected.cases.len()
}

/// Where the ids of a text first differ from the expected ones, and how.
fn difference(tokenizer: &Tokenizer, case: &Case) -> Option<String> {
    let shown: String = case.text.chars().take(60).collect();
    let tokens = match tokenizer.encode(&case.text) {
        Ok(tokens) => tokens,
        Err(error) => return Some(format!("{shown:?}: {error}")),
    };
    let (got, want) = (tokens.ids(), &case.ids);
    let at = (0..got.len().max(want.len())).find(|&at| got.get(at) != want.get(at));
    if let Some(at) = at {
        let (got, want) = (got.get(at), want.get(at));
        return Some(format!("{shown:?}: at index {at} {got:?} where {want:?} is expected"));
    }
    let (count, truncated) = (case.count, case.count > CONTEXT);
    if (tokens.count(), tokens.truncated()) != (count, truncated) {
        let (got, cut) = (tokens.count(), tokens.truncated());
        return Some(format!(
            "{shown:?}: {got} tokens, cut off: {cut}; expected {count}, {truncated}"
        ));
    }
    (tokens.pooled() != case.end).then(|| {
        format!("{shown:?}: the first end token at {}, expected at {}", tokens.pooled(), case.end)
    })
}

#[test]
fn a_vocabulary_with_its_merges_gives_hugging_faces_ids() {
    let (tokens, merges) = vocabulary();
    check(&tokenizer(tokens, Some(merges), CONTEXT).unwrap());
}

#[test]
fn a_vocabulary_alone_gives_hugging_faces_ids() {
    let (tokens, _) = vocabulary();
    let count = check(&tokenizer(tokens, None, CONTEXT).unwrap());
    let outcome = "the same ids as from Hugging Face's tokenizer";
    record(
        "inputs",
        "texts in many scripts; empty, long, of punctuation and symbols",
        &count.to_string(),
        outcome,
    );
}

/// A label, tokens, merges, and the context length.
type Wrong<'a> = (&'a str, Vec<&'a str>, Option<&'a [&'a str]>, usize);

#[test]
fn a_vocabulary_that_is_none_is_refused() {
    let marks = ["<|startoftext|>", "<|endoftext|>"];
    let letters = ["a", "b", "ab"];
    let cases: [Wrong; 8] = [
        ("no tokens", vec![], None, CONTEXT),
        ("no end", vec!["a", marks[0]], None, CONTEXT),
        ("no start", vec!["a", marks[1]], None, CONTEXT),
        ("no room", marks.to_vec(), None, 1),
        ("no room at all", marks.to_vec(), None, 0),
        ("half a merge", [&letters[..], &marks].concat(), Some(&["ab"]), CONTEXT),
        ("a merge of unknown tokens", [&letters[..], &marks].concat(), Some(&["a c"]), CONTEXT),
        ("a merge to an unknown token", [&letters[..], &marks].concat(), Some(&["b a"]), CONTEXT),
    ];
    for (label, tokens, merges, context) in &cases {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let made = tokenizer(strings(tokens), merges.map(strings), *context);
        let error = made.err().unwrap_or_else(|| panic!("{label}: it was made"));
        assert_eq!(error.kind(), ErrorKind::MalformedModel, "{label}: {error}");
    }
    record(
        "inputs",
        "invalid vocabularies",
        &cases.len().to_string(),
        "each refused as malformed_model",
    );
}
