//! Reads Hugging Face's `tokenizer.json`.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::model::added::AddedToken;

/// What is read of a `tokenizer.json`. Not a tree of JSON, which would take several times the memory of this file's tens
/// of megabytes.
#[derive(Deserialize)]
pub(crate) struct File {
    #[serde(default)]
    pub added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub normalizer: Json,
    #[serde(default)]
    pub pre_tokenizer: Json,
    #[serde(default)]
    pub padding: Json,
    pub model: Model,
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// `malformed_model`, `limit_exceeded`.
    pub fn read(text: &str, limits: &Limits) -> Result<Self> {
        limits
            .check(Limit::JsonBytes, text.len() as u64)
            .map_err(|error| error.context("tokenizer.json"))?;
        let file: Self = serde_json::from_str(text).map_err(|source| {
            let message = format!("tokenizer.json: {source}");
            Error::new(ErrorKind::MalformedModel, message).with_source(source)
        })?;
        let vocab = &file.model.vocab;
        limits.check(Limit::Vocabulary, (vocab.len() + file.added_tokens.len()) as u64)?;
        limits.check(Limit::TokenBytes, vocab.longest() as u64)?;
        Ok(file)
    }

    /// What kind of model it has, such as `BPE`.
    pub fn kind(&self) -> &str {
        self.model.kind.as_deref().unwrap_or(match self.model.vocab {
            Table::Ids(_) => "BPE",
            Table::Scores(_) => "Unigram",
        })
    }
}

#[derive(Deserialize)]
pub(crate) struct Model {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub vocab: Table,
    #[serde(default)]
    pub merges: Vec<Merge>,
    #[serde(flatten)]
    pub settings: HashMap<String, Json>,
}

/// The tokens, in the form of its kind of model.
pub(crate) enum Table {
    /// Each with its id.
    Ids(Vec<(String, u32)>),
    /// In id order, each with its score.
    Scores(Vec<(String, f64)>),
}

impl Table {
    fn len(&self) -> usize {
        match self {
            Self::Ids(table) => table.len(),
            Self::Scores(list) => list.len(),
        }
    }

    fn longest(&self) -> usize {
        let longest = match self {
            Self::Ids(table) => table.iter().map(|(token, _)| token.len()).max(),
            Self::Scores(list) => list.iter().map(|(token, _)| token.len()).max(),
        };
        longest.unwrap_or(0)
    }
}

/// As `first second`; older files store strings, newer ones pairs.
pub(crate) struct Merge(pub String);

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
                Ok(Table::Ids(table))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Table, A::Error> {
                let mut scores = Vec::new();
                while let Some(entry) = list.next_element()? {
                    scores.push(entry);
                }
                Ok(Table::Scores(scores))
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
