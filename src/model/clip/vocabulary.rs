//! Reads a model's tokens from its files into a [`Vocabulary`], and writes them to a GGUF's metadata.
//!
//! A tokenizer that is not CLIP's is refused by name: with different ids, the vector of a text is
//! meaningless.

use serde_json::{Value as Json, json};

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, Value};
use crate::limits::{Limit, Limits};
use crate::model::added::AddedToken;
use crate::model::clip::tokenizer::{END, START, Vocabulary, WORDS};

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
/// `added_tokens` of Hugging Face's `tokenizer.json`, unchanged. Only this crate uses this key.
const ADDED_TOKENS: &str = "tokenizer.huggingface.added_tokens";
/// The pattern in `tokenizer.json` of OpenAI's ViT-L/14. transformers 5 uses [`WORDS`] for every CLIP; the
/// two only differ for an end token in capitals.
const OLDER_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Reads Hugging Face's `tokenizer.json` or `vocab.json`.
///
/// # Errors
/// `unsupported_model` if it is the tokenizer of another family; `malformed_model` if ids are missing or it
/// has no vocabulary; `limit_exceeded`.
pub fn of_checkpoint(file: &Json, limits: &Limits) -> Result<Vocabulary> {
    let Some(model) = file.get("model").filter(|model| model.is_object()) else {
        return Ok(Vocabulary { tokens: tokens(file, &[], limits)?, ..Vocabulary::default() });
    };
    refuse_other_tokenizers(file, model)?;
    let mut added = match file.get("added_tokens") {
        None => Vec::new(),
        Some(list) => added_tokens(list)?,
    };
    let table = model.get("vocab").unwrap_or(&Json::Null);
    // transformers adds the marks if the file does not.
    for mark in [START, END] {
        let id = table.get(mark).and_then(Json::as_u64).and_then(|id| u32::try_from(id).ok());
        if let Some(id) = id
            && !added.iter().any(|added| added.token.content == mark)
        {
            added.push(AddedToken { id, token: tokenizers::AddedToken::from(mark, true) });
        }
    }
    Ok(Vocabulary { tokens: tokens(table, &added, limits)?, merges: merges(model)?, added })
}

/// Reads the metadata of a GGUF.
///
/// # Errors
/// `malformed_model` if it has no tokens or invalid ones; `limit_exceeded`.
pub fn of_gguf(header: &Header, limits: &Limits) -> Result<Vocabulary> {
    let strings = |key: &str| -> Option<Vec<String>> {
        let Some(Value::Array(values)) = header.get(key) else { return None };
        values.iter().map(|value| value.to_string().ok().cloned()).collect()
    };
    let tokens =
        strings(TOKENS).ok_or_else(|| malformed(format!("its metadata has no {TOKENS}")))?;
    check_lengths(&tokens, limits)?;
    let added = match header.get(ADDED_TOKENS) {
        None => Vec::new(),
        Some(Value::String(text)) => {
            limits.check(Limit::JsonBytes, text.len() as u64)?;
            let list = serde_json::from_str(text);
            added_tokens(&list.map_err(|source| malformed(format!("{ADDED_TOKENS}: {source}")))?)?
        }
        Some(_) => return Err(malformed(format!("{ADDED_TOKENS} is not a string"))),
    };
    Ok(Vocabulary { tokens, merges: strings(MERGES), added })
}

/// The metadata for a GGUF. Merges are omitted if they can be rebuilt from the tokens.
pub fn metadata(vocabulary: &Vocabulary) -> Vec<(&'static str, Value)> {
    let strings = |list: Vec<String>| Value::Array(list.into_iter().map(Value::String).collect());
    let mut list = vec![(TOKENS, strings(vocabulary.tokens.clone()))];
    if let Some(merges) = &vocabulary.merges {
        let rebuilt = vocabulary.rebuild_merges();
        let rebuilt = rebuilt.iter().map(|(first, second)| format!("{first} {second}"));
        if !rebuilt.eq(merges.iter().cloned()) {
            list.push((MERGES, strings(merges.clone())));
        }
    }
    if !vocabulary.adds_only_the_marks() {
        list.push((ADDED_TOKENS, Value::String(json!(vocabulary.added).to_string())));
    }
    list
}

/// The tokens of a table, followed by added tokens that are not in it, in id order.
fn tokens(table: &Json, added: &[AddedToken], limits: &Limits) -> Result<Vec<String>> {
    let table = table.as_object();
    let table = table.ok_or_else(|| malformed("the tokenizer's file has no vocabulary"))?;
    limits.check(Limit::Vocabulary, table.len() as u64)?;
    let mut tokens: Vec<(u64, &str)> = Vec::new();
    for (token, id) in table {
        let id = id.as_u64().ok_or_else(|| malformed(format!("token {token:?} has no id")))?;
        tokens.push((id, token));
    }
    for AddedToken { id, token } in added {
        match table.get(&token.content).map(|known| known.as_u64() == Some(u64::from(*id))) {
            Some(true) => {}
            Some(false) => {
                return Err(malformed(format!("token {:?} has two ids", token.content)));
            }
            None => tokens.push((u64::from(*id), &token.content)),
        }
    }
    limits.check(Limit::Vocabulary, tokens.len() as u64)?;
    tokens.sort_unstable();
    if tokens.iter().zip(0..).any(|((id, _), place)| *id != place) {
        return Err(malformed("the vocabulary's ids are not 0, 1, 2, …"));
    }
    let tokens: Vec<String> = tokens.into_iter().map(|(_, token)| token.to_string()).collect();
    check_lengths(&tokens, limits)?;
    Ok(tokens)
}

/// Each merge as `first second`; older files store strings, newer ones pairs.
fn merges(model: &Json) -> Result<Option<Vec<String>>> {
    let Some(list) = model.get("merges").and_then(Json::as_array) else { return Ok(None) };
    let line = |merge: &Json| match merge {
        Json::String(line) => Some(line.clone()),
        Json::Array(pair) => {
            Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?))
        }
        _ => None,
    };
    let lines: Option<Vec<String>> = list.iter().map(line).collect();
    lines.map(Some).ok_or_else(|| malformed("a merge of its tokenizer is invalid"))
}

fn added_tokens(list: &Json) -> Result<Vec<AddedToken>> {
    let added: Result<Vec<AddedToken>, _> = serde::Deserialize::deserialize(list);
    added.map_err(|source| malformed(format!("its added tokens: {source}")))
}

/// Refuses tokens with more bytes than the limit: finding what a token was joined from takes time in the
/// square of its length.
fn check_lengths(tokens: &[String], limits: &Limits) -> Result<()> {
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)
}

/// Refuses settings that split a text differently than CLIP's tokenizer. Missing settings mean CLIP's.
fn refuse_other_tokenizers(file: &Json, model: &Json) -> Result<()> {
    let is_bpe = model.get("type").is_none_or(|name| name == "BPE");
    if !is_bpe || model.get("vocab").is_some_and(Json::is_array) {
        let name = model.get("type").and_then(Json::as_str).unwrap_or("another kind");
        return Err(unsupported(format!("a {name} model")));
    }
    let off = |value: &Json| matches!(value, Json::Null | Json::Bool(false)) || value == "";
    for key in
        ["dropout", "continuing_subword_prefix", "fuse_unk", "byte_fallback", "ignore_merges"]
    {
        if model.get(key).is_some_and(|value| !off(value)) {
            return Err(unsupported(format!("a {key}")));
        }
    }
    if model.get("end_of_word_suffix").is_some_and(|suffix| suffix != "</w>") {
        return Err(unsupported(format!(
            "an end_of_word_suffix of {}",
            model["end_of_word_suffix"]
        )));
    }
    let normalizer = json!([
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]);
    if file.get("normalizer").is_some_and(|it| it.get("normalizers") != Some(&normalizer)) {
        return Err(unsupported("another normalizer"));
    }
    if let Some(splitter) = file.get("pre_tokenizer") {
        let step = |at: usize, key: &str| splitter.pointer(&format!("/pretokenizers/{at}/{key}"));
        let pattern = step(0, "pattern/Regex").and_then(Json::as_str);
        let is_clips = step(0, "type").is_some_and(|name| name == "Split")
            && pattern.is_some_and(|pattern| pattern == WORDS || pattern == OLDER_WORDS)
            && step(0, "behavior").is_some_and(|name| name == "Removed")
            && step(0, "invert") == Some(&Json::Bool(true))
            && step(1, "type").is_some_and(|name| name == "ByteLevel")
            && step(1, "add_prefix_space") == Some(&Json::Bool(false))
            && step(2, "type").is_none();
        if !is_clips {
            return Err(unsupported("another pre_tokenizer"));
        }
    }
    Ok(())
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model's vocabulary is invalid: {what}; use another file");
    Error::new(ErrorKind::MalformedModel, message)
}

fn unsupported(what: impl std::fmt::Display) -> Error {
    let message = format!(
        "its tokenizer.json has {what}, where CLIP's byte-pair encoding is expected; use a plain CLIP"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}
