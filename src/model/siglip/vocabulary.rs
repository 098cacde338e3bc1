//! Reads a SigLIP's tokens from its files into a [`Vocabulary`], and writes them to a GGUF's metadata.
//!
//! A tokenizer that is not Gemma's is refused by name: with different ids, the vector of a text is meaningless.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value as Json, json};

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, Value};
use crate::limits::{Limit, Limits};
use crate::model::added::AddedToken;
use crate::model::siglip::tokenizer::{Merges, SPACE, UNKNOWN, Vocabulary, malformed};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const END: &str = "tokenizer.ggml.eos_token_id";
const PADDING: &str = "tokenizer.ggml.padding_token_id";
/// The order of [`Merges::Rebuilt`]. Only this crate uses this key and the next one.
const MERGE_ORDER: &str = "tokenizer.ggml.merge_order";
const ADDED_TOKENS: &str = "tokenizer.huggingface.added_tokens";

/// The tokens that end and fill a text.
const END_TOKEN: &str = "<eos>";
const PADDING_TOKEN: &str = "<pad>";

/// What is read of a `tokenizer.json`. Not a tree of JSON, which would take several times the memory of this file's tens
/// of megabytes.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Table,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(flatten)]
    settings: HashMap<String, Json>,
}

/// The ids of tokens; `None` in the form of another kind of model, a list.
struct Table(Option<Vec<(String, u32)>>);

/// As `first second`; older files store strings, newer ones pairs.
struct Merge(String);

/// Reads Hugging Face's `tokenizer.json`.
///
/// # Errors
/// `unsupported_model` if it is another tokenizer than Gemma's; `malformed_model`; `limit_exceeded`.
pub fn of_checkpoint(text: &str, limits: &Limits) -> Result<Vocabulary> {
    limits
        .check(Limit::JsonBytes, text.len() as u64)
        .map_err(|error| error.context("tokenizer.json"))?;
    let File { added_tokens, normalizer, pre_tokenizer, model } = serde_json::from_str(text)
        .map_err(|source| {
            let message = format!("tokenizer.json: {source}");
            Error::new(ErrorKind::MalformedModel, message).with_source(source)
        })?;
    let kind = model.kind.as_deref().unwrap_or("BPE");
    let Some(table) = model.vocab.0.filter(|_| kind == "BPE") else {
        return Err(unsupported(format!("a {kind} model")));
    };
    refuse_other_tokenizers(&model.settings, &normalizer, &pre_tokenizer)?;
    limits.check(Limit::Vocabulary, (table.len() + added_tokens.len()) as u64)?;
    let tokens = tokens(table, &added_tokens)?;
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)?;
    let id = |name: &str| {
        let id = tokens.iter().position(|token| token == name);
        id.map(|id| id as u32).ok_or_else(|| malformed(format!("it has no {name}")))
    };
    let (end, padding) = (id(END_TOKEN)?, id(PADDING_TOKEN)?);
    let merges = Merges::Listed(model.merges.into_iter().map(|Merge(line)| line).collect());
    let mut vocabulary = Vocabulary { tokens, merges, added: added_tokens, end, padding };
    vocabulary.shorten_merges();
    Ok(vocabulary)
}

/// Reads the metadata of a GGUF.
///
/// # Errors
/// `malformed_model` if it has no tokens or invalid ones; `limit_exceeded`.
pub fn of_gguf(header: &Header, limits: &Limits) -> Result<Vocabulary> {
    let wrong = |key: &str| malformed(format!("its metadata has no valid {key}"));
    let strings = |key: &str| -> Option<Vec<String>> {
        let Some(Value::Array(values)) = header.get(key) else { return None };
        values.iter().map(|value| value.to_string().ok().cloned()).collect()
    };
    let number = |key: &str| {
        let value = header.get(key).and_then(|value| value.to_u32().ok());
        value.ok_or_else(|| wrong(key))
    };
    let merges = match header.get(MERGE_ORDER) {
        None => Merges::Listed(strings(MERGES).ok_or_else(|| wrong(MERGES))?),
        Some(Value::Array(values)) => {
            let order: Option<Vec<u32>> = values.iter().map(|value| value.to_u32().ok()).collect();
            Merges::Rebuilt(order.ok_or_else(|| wrong(MERGE_ORDER))?)
        }
        Some(_) => return Err(wrong(MERGE_ORDER)),
    };
    let added = match header.get(ADDED_TOKENS) {
        None => Vec::new(),
        Some(Value::String(text)) => {
            limits.check(Limit::JsonBytes, text.len() as u64)?;
            serde_json::from_str(text)
                .map_err(|source| malformed(format!("{ADDED_TOKENS}: {source}")))?
        }
        Some(_) => return Err(wrong(ADDED_TOKENS)),
    };
    let tokens = strings(TOKENS).ok_or_else(|| wrong(TOKENS))?;
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)?;
    Ok(Vocabulary { tokens, merges, added, end: number(END)?, padding: number(PADDING)? })
}

/// The metadata for a GGUF.
pub fn metadata(vocabulary: &Vocabulary) -> Vec<(&'static str, Value)> {
    let strings = |list: &[String]| Value::Array(list.iter().cloned().map(Value::String).collect());
    let merges = match &vocabulary.merges {
        Merges::Rebuilt(order) => {
            (MERGE_ORDER, Value::Array(order.iter().copied().map(Value::U32).collect()))
        }
        Merges::Listed(lines) => (MERGES, strings(lines)),
    };
    vec![
        (MODEL, Value::String("gemma".into())),
        (TOKENS, strings(&vocabulary.tokens)),
        merges,
        (END, Value::U32(vocabulary.end)),
        (PADDING, Value::U32(vocabulary.padding)),
        (ADDED_TOKENS, Value::String(json!(vocabulary.added).to_string())),
    ]
}

/// All tokens, in id order.
fn tokens(table: Vec<(String, u32)>, added: &[AddedToken]) -> Result<Vec<String>> {
    let mut all = table;
    let known: HashMap<&str, u32> = all.iter().map(|(token, id)| (&**token, *id)).collect();
    let mut others = Vec::new();
    for AddedToken { id, token } in added {
        match known.get(&*token.content) {
            Some(known) if known == id => {}
            Some(_) => return Err(malformed(format!("token {:?} has two ids", token.content))),
            None => others.push((token.content.clone(), *id)),
        }
    }
    all.extend(others);
    all.sort_unstable_by_key(|(_, id)| *id);
    if all.iter().zip(0..).any(|((_, id), place)| *id != place) {
        return Err(malformed("the vocabulary's ids are not 0, 1, 2, …"));
    }
    Ok(all.into_iter().map(|(token, _)| token).collect())
}

/// Refuses settings with which a text gets other tokens than Gemma's.
fn refuse_other_tokenizers(
    settings: &HashMap<String, Json>,
    normalizer: &Json,
    pre_tokenizer: &Json,
) -> Result<()> {
    let get = |key: &str| settings.get(key).unwrap_or(&Json::Null);
    for key in ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"] {
        if !matches!(get(key), Json::Null | Json::Bool(false)) && get(key) != "" {
            return Err(unsupported(format!("a {key}")));
        }
    }
    for (key, wanted) in
        [("byte_fallback", json!(true)), ("fuse_unk", json!(true)), ("unk_token", json!(UNKNOWN))]
    {
        if *get(key) != wanted {
            return Err(unsupported(format!("{key} {} instead of {wanted}", get(key))));
        }
    }
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let lower = json!({"type": "Sequence", "normalizers": [{"type": "Lowercase"}, spaces]});
    if *normalizer != spaces && *normalizer != lower {
        return Err(unsupported("another normalizer"));
    }
    // After the normalizer there are no spaces, so that splitting at them does nothing.
    let split = json!({
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false,
    });
    if !pre_tokenizer.is_null() && *pre_tokenizer != split {
        return Err(unsupported("another pre_tokenizer"));
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Table;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let mut table = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    table.push(entry);
                }
                Ok(Table(Some(table)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Table, A::Error> {
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Table(None))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a merge")
            }

            fn visit_str<E>(self, line: &str) -> Result<Merge, E> {
                Ok(Merge(line.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Merge, A::Error> {
                let mut part = || -> Result<String, A::Error> {
                    let missing = || serde::de::Error::custom("a merge is not a pair");
                    pair.next_element()?.ok_or_else(missing)
                };
                let (first, second) = (part()?, part()?);
                Ok(Merge(format!("{first} {second}")))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn unsupported(what: impl fmt::Display) -> Error {
    let message = format!(
        "its tokenizer.json has {what}, where Gemma's byte-pair encoding is expected; use a SigLIP 2 such as google/siglip2-base-patch16-224"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}
