//! Reads Gemma's tokens from a model's files into a [`Vocabulary`], and writes them to a GGUF's metadata.
//!
//! A tokenizer that is not Gemma's is refused by name: with different ids, the vector of a text is meaningless.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value as Json, json};

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::Value;
use crate::limits::{Limit, Limits};
use crate::model::added::AddedToken;
use crate::model::siglip::gemma::tokenizer::{Merges, SPACE, UNKNOWN, Vocabulary};
use crate::model::siglip::malformed;
use crate::model::siglip::metadata::{END, MODEL, Metadata, PADDING, TOKENS, wrong};
use crate::model::siglip::tokenizer_json::{File, Merge, Table};

/// The value of [`MODEL`].
pub(crate) const NAME: &str = "gemma";
const MERGES: &str = "tokenizer.ggml.merges";
/// The order of [`Merges::Rebuilt`]. Only this crate uses this key and the next one.
const MERGE_ORDER: &str = "tokenizer.ggml.merge_order";
const ADDED_TOKENS: &str = "tokenizer.huggingface.added_tokens";

/// The tokens that end and fill a text.
const END_TOKEN: &str = "<eos>";
const PADDING_TOKEN: &str = "<pad>";

/// Takes the tokens of a `tokenizer.json`.
///
/// # Errors
/// `unsupported_model` if it is another tokenizer than Gemma's; `malformed_model`; `limit_exceeded`.
pub(crate) fn of_file(file: File, limits: &Limits) -> Result<Vocabulary> {
    let kind = file.kind().to_owned();
    let File { added_tokens, normalizer, pre_tokenizer, model, .. } = file;
    let table = match model.vocab {
        Table::Ids(table) if kind == "BPE" => table,
        _ => return Err(unsupported(format!("a {kind} model"))),
    };
    refuse_other_tokenizers(&model.settings, &normalizer, &pre_tokenizer)?;
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
pub(crate) fn of_gguf(metadata: Metadata, limits: &Limits) -> Result<Vocabulary> {
    let merges = match metadata.get(MERGE_ORDER) {
        None => Merges::Listed(metadata.strings(MERGES)?),
        Some(_) => Merges::Rebuilt(metadata.list(MERGE_ORDER, |value| value.to_u32().ok())?),
    };
    let added = match metadata.get(ADDED_TOKENS) {
        None => Vec::new(),
        Some(Value::String(text)) => {
            limits.check(Limit::JsonBytes, text.len() as u64)?;
            serde_json::from_str(text)
                .map_err(|source| malformed(format!("{ADDED_TOKENS}: {source}")))?
        }
        Some(_) => return Err(wrong(ADDED_TOKENS)),
    };
    let tokens = metadata.strings(TOKENS)?;
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)?;
    let (end, padding) = (metadata.number(END)?, metadata.number(PADDING)?);
    Ok(Vocabulary { tokens, merges, added, end, padding })
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
        (MODEL, Value::String(NAME.into())),
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

fn unsupported(what: impl fmt::Display) -> Error {
    let message = format!(
        "its tokenizer.json has {what}, where Gemma's byte-pair encoding or a SigLIP's Unigram is expected; use a model such as google/siglip2-base-patch16-224"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}
