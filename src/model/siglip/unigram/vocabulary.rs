//! Reads the tokens of a unigram model from a model's files into a [`Vocabulary`], and writes them to a GGUF's metadata.
//!
//! Of a `tokenizer.json` only tokens, scores and the table of replacements are taken: they are those of its
//! `spiece.model`, which `SiglipTokenizer` reads. What else the file does to a text is not what that class does (the
//! published ones keep `/`, `<` and `>`), so that it is only compared with what is known.

use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::Value;
use crate::limits::{Limit, Limits};
use crate::model::siglip::malformed;
use crate::model::siglip::metadata::{END as END_ID, MODEL, Metadata, PADDING, TOKENS, wrong};
use crate::model::siglip::tokenizer_json::{File, Table};
use crate::model::siglip::unigram::charsmap::SPACE;
use crate::model::siglip::unigram::tokenizer::{END, Kind, UNKNOWN, Vocabulary, byte_token};

/// The value of [`MODEL`]: llama.cpp's name for unigrams.
pub(crate) const NAME: &str = "t5";
const SCORES: &str = "tokenizer.ggml.scores";
const KINDS: &str = "tokenizer.ggml.token_type";
const UNKNOWN_ID: &str = "tokenizer.ggml.unknown_token_id";
/// Base64, as in `tokenizer.json`. Only this crate uses this key.
const CHARSMAP: &str = "tokenizer.huggingface.precompiled_charsmap";
/// Tokens that are never a piece of a text.
const CONTROLS: [&str; 3] = ["<pad>", "<s>", END];

/// Takes the tokens of a `tokenizer.json`.
///
/// # Errors
/// `unsupported_model` if it is another tokenizer than a SigLIP's; `malformed_model`.
pub(crate) fn of_file(file: File) -> Result<Vocabulary> {
    let Table::Scores(list) = file.model.vocab else {
        return Err(malformed("a Unigram's vocabulary must be a list"));
    };
    let settings = &file.model.settings;
    let unknown = settings.get("unk_id").and_then(Json::as_u64);
    let has_bytes = settings.get("byte_fallback") == Some(&Json::Bool(true));
    let byte_tokens: Vec<String> = (0..256).map(byte_token).collect();
    let kind = |(id, (token, _)): (usize, &(String, f64))| match token.as_str() {
        _ if unknown == Some(id as u64) => Kind::Unknown,
        token if CONTROLS.contains(&token) => Kind::Control,
        token if has_bytes && byte_tokens.iter().any(|byte| byte == token) => Kind::Byte,
        _ => Kind::Normal,
    };
    let kinds: Vec<Kind> = list.iter().enumerate().map(kind).collect();
    for added in &file.added_tokens {
        let (id, name) = (added.id as usize, &added.token.content);
        let is_own = list.get(id).is_some_and(|(token, _)| token == name);
        if !is_own || kinds[id] == Kind::Normal {
            return Err(unsupported(format!("an added token {name:?}")));
        }
    }
    let mut charsmap = Vec::new();
    check_normalizer(&file.normalizer, &mut charsmap)?;
    check_pre_tokenizer(&file.pre_tokenizer)?;
    let pad = file.padding.get("pad_token").filter(|token| **token != END);
    if let Some(token) = pad {
        return Err(unsupported(format!("padding with {token}")));
    }
    let (tokens, scores) = list.into_iter().map(|(token, score)| (token, score as f32)).unzip();
    Ok(Vocabulary { tokens, scores, kinds, charsmap })
}

/// Reads the metadata of a GGUF.
///
/// # Errors
/// `malformed_model` if it has no tokens or invalid ones; `limit_exceeded`.
pub(crate) fn of_gguf(metadata: Metadata, limits: &Limits) -> Result<Vocabulary> {
    let tokens = metadata.strings(TOKENS)?;
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)?;
    let kind = |value: &Value| {
        let number = value.to_i32().ok()?;
        let kinds = [Kind::Normal, Kind::Unknown, Kind::Control, Kind::Byte];
        kinds.into_iter().find(|kind| *kind as i32 == number)
    };
    let charsmap = match metadata.get(CHARSMAP) {
        None => Vec::new(),
        Some(Value::String(text)) => base64::decode(text).map_err(|_| wrong(CHARSMAP))?,
        Some(_) => return Err(wrong(CHARSMAP)),
    };
    let vocabulary = Vocabulary {
        scores: metadata.list(SCORES, |value| value.to_f32().ok())?,
        kinds: metadata.list(KINDS, kind)?,
        tokens,
        charsmap,
    };
    for (key, name) in [(END_ID, END), (PADDING, END), (UNKNOWN_ID, UNKNOWN)] {
        let id = metadata.number(key)? as usize;
        if vocabulary.tokens.get(id).is_none_or(|token| token != name) {
            return Err(malformed(format!("its {key} is not that of {name}")));
        }
    }
    Ok(vocabulary)
}

/// The metadata for a GGUF.
pub fn metadata(vocabulary: &Vocabulary) -> Vec<(&'static str, Value)> {
    let Vocabulary { tokens, scores, kinds, charsmap } = vocabulary;
    let id = |name: &str| {
        let id = tokens.iter().position(|token| token == name);
        Value::U32(id.unwrap_or_default() as u32)
    };
    let mut entries = vec![
        (MODEL, Value::String(NAME.into())),
        (TOKENS, Value::Array(tokens.iter().cloned().map(Value::String).collect())),
        (SCORES, Value::Array(scores.iter().copied().map(Value::F32).collect())),
        (KINDS, Value::Array(kinds.iter().map(|kind| Value::I32(*kind as i32)).collect())),
        (UNKNOWN_ID, id(UNKNOWN)),
        (END_ID, id(END)),
        (PADDING, id(END)),
    ];
    if !charsmap.is_empty() {
        entries.push((CHARSMAP, Value::String(base64::encode(charsmap))));
    }
    entries
}

/// Refuses what a published `tokenizer.json` does not do to a text, and takes its table of replacements.
fn check_normalizer(normalizer: &Json, charsmap: &mut Vec<u8>) -> Result<()> {
    let text = |key: &str| normalizer.get(key).and_then(Json::as_str);
    let pattern = normalizer.get("pattern").and_then(|pattern| pattern.get("Regex"));
    match (text("type"), pattern.and_then(Json::as_str), text("content")) {
        (Some("Sequence"), ..) => {
            let steps = normalizer.get("normalizers").and_then(Json::as_array);
            steps.into_iter().flatten().try_for_each(|step| check_normalizer(step, charsmap))
        }
        (Some("Precompiled"), ..) => {
            let encoded = text("precompiled_charsmap").unwrap_or_default();
            *charsmap = base64::decode(encoded)
                .map_err(|_| malformed("its precompiled_charsmap is not base64"))?;
            Ok(())
        }
        (None, ..) if normalizer.is_null() => Ok(()),
        (Some("Lowercase" | "Strip"), ..) => Ok(()),
        (Some("Replace"), Some(r"\s+"), Some(" ")) => Ok(()),
        (Some("Replace"), Some(" {2,}"), Some(" " | SPACE)) => Ok(()),
        (Some("Replace"), Some(set), Some("")) if is_punctuation(set) => Ok(()),
        _ => Err(unsupported("another normalizer")),
    }
}

/// Whether a pattern is a set of punctuation, as `[!\-]`.
fn is_punctuation(pattern: &str) -> bool {
    let set = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    set.is_some_and(|set| set.chars().all(|c| c.is_ascii_punctuation()) && !set.starts_with('^'))
}

fn check_pre_tokenizer(pre_tokenizer: &Json) -> Result<()> {
    let kind = pre_tokenizer.get("type").and_then(Json::as_str);
    let of = |key: &str| pre_tokenizer.get(key).and_then(Json::as_str);
    let is_known = match kind {
        Some("Sequence") => {
            let steps = pre_tokenizer.get("pretokenizers").and_then(Json::as_array);
            return steps.into_iter().flatten().try_for_each(check_pre_tokenizer);
        }
        Some("Metaspace") => {
            of("replacement") == Some(SPACE)
                && matches!(of("prepend_scheme"), None | Some("always"))
        }
        Some("WhitespaceSplit") => true,
        _ => false,
    };
    if is_known { Ok(()) } else { Err(unsupported("another pre_tokenizer")) }
}

fn unsupported(what: impl std::fmt::Display) -> Error {
    let message = format!(
        "its tokenizer.json has {what}, which a SigLIP's does not; use the model's own file, or another model such as google/siglip2-base-patch16-224"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}
