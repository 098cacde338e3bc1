//! Turns a string into token ids, equal to those of transformers' `Siglip2Tokenizer`, which is Gemma's in lower case.

use std::borrow::Cow;
use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{Lowercase, Sequence as Normalizers};
use tokenizers::{NormalizerWrapper, Tokenizer as Pipeline};

use crate::error::{Error, ErrorKind, Result};
use crate::memory;
use crate::model::added::AddedToken;
use crate::model::siglip::cleaning::{Cleaning, canonical_of_open_clip};
use crate::model::siglip::{make_room, malformed};
use crate::model::tokens::Tokens;

/// What a space becomes before a text is split into tokens.
pub(crate) const SPACE: &str = "▁";
/// The token for what has no other, and is no byte.
pub(crate) const UNKNOWN: &str = "<unk>";

/// Memory to tokenize a text, in numbers for each byte of it: symbols, merges, and where each came from.
const ENCODING_PLACES: u64 = 24;

/// The data a tokenizer is built from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    /// In id order, including added tokens.
    pub tokens: Vec<String>,
    /// Pairs of tokens that become one, in the order in which they do.
    pub merges: Merges,
    /// Tokens that are found in a text before anything else.
    pub added: Vec<AddedToken>,
    /// The token at the end of each text, which also stays if a text is too long.
    pub end: u32,
    /// What a text is filled with, to the length that the model reads.
    pub padding: u32,
}

/// Pairs of tokens that become one.
#[derive(Clone, Debug, PartialEq)]
pub enum Merges {
    /// Every way to cut a token into two others: those of a token follow one another by their parts' ids, and tokens have
    /// the order of this list of ids.
    Rebuilt(Vec<u32>),
    /// Each as `first second`.
    Listed(Vec<String>),
}

impl Default for Merges {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Turns texts into [`Tokens`]. All have the model's full length, because it reads the padding too, and pools at the last
/// one.
pub struct Tokenizer {
    pipeline: Pipeline,
    end: u32,
    padding: u32,
    context: usize,
    cleaning: Cleaning,
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary, for texts of `context` tokens.
    ///
    /// # Errors
    /// `malformed_model` if the vocabulary contradicts itself; `low_memory`.
    pub fn new(vocabulary: Vocabulary, context: usize, cleaning: Cleaning) -> Result<Self> {
        make_room(vocabulary.tokens.len())?;
        vocabulary.check()?;
        let merges = vocabulary.pairs()?;
        let Vocabulary { tokens, added, end, padding, .. } = vocabulary;
        let table: Vocab = tokens.into_iter().zip(0..).collect();
        let bpe = BPE::builder()
            .vocab_and_merges(table, merges)
            .unk_token(UNKNOWN.into())
            .fuse_unk(true)
            .byte_fallback(true)
            .build()
            .map_err(|source| malformed(source.to_string()))?;
        let pipeline = assemble(bpe, &added).map_err(|source| {
            Error::new(ErrorKind::Internal, format!("the tokenizer could not be built: {source}"))
        })?;
        let tokenizer = Self { pipeline, end, padding, context, cleaning };
        // The first text compiles the tokenizer's patterns.
        tokenizer.encode("a photo")?;
        Ok(tokenizer)
    }

    /// The ids of a text: at most `context - 1` of its own, the end, and padding.
    ///
    /// # Errors
    /// `low_memory` if there is not enough memory for a very long text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        memory::probe(&[ENCODING_PLACES * size_of::<usize>() as u64 * text.len() as u64; 2])?;
        let text = match self.cleaning {
            Cleaning::Transformers => Cow::Borrowed(text),
            Cleaning::OpenClip => Cow::Owned(canonical_of_open_clip(text)),
        };
        let encoding = self.pipeline.encode_fast(&*text, false).map_err(|source| {
            Error::new(ErrorKind::Internal, format!("the text could not be tokenized: {source}"))
        })?;
        let words = encoding.get_ids();
        let mut ids: Vec<u32> = words.iter().take(self.context - 1).copied().collect();
        ids.push(self.end);
        ids.resize(self.context, self.padding);
        Ok(Tokens::new(ids, self.context - 1, words.len() + 1))
    }
}

impl Vocabulary {
    /// Checks that a tokenizer can be built from it.
    ///
    /// # Errors
    /// `malformed_model`, with the token.
    pub fn check(&self) -> Result<()> {
        let count = self.tokens.len();
        for id in [self.end, self.padding] {
            if id as usize >= count {
                return Err(malformed(format!("it has {count} tokens, and not token {id}")));
            }
        }
        if !self.tokens.iter().any(|token| token == UNKNOWN) {
            return Err(malformed(format!("it has no {UNKNOWN}")));
        }
        for AddedToken { id, token } in &self.added {
            if token.content.is_empty() || self.tokens.get(*id as usize) != Some(&token.content) {
                return Err(malformed(format!(
                    "{:?} cannot be added as token {id}",
                    token.content
                )));
            }
        }
        match &self.merges {
            Merges::Rebuilt(order) => match order.iter().find(|id| **id as usize >= count) {
                Some(id) => Err(malformed(format!("it has {count} tokens, and not token {id}"))),
                None => Ok(()),
            },
            Merges::Listed(lines) => {
                // The crate tokenizers panics where a merge makes what is longer than every token.
                let ids = self.ids();
                let wrong = lines.iter().find(|line| {
                    let joined =
                        line.split_once(' ').map(|(first, second)| [first, second].concat());
                    joined.is_none_or(|joined| !ids.contains_key(&*joined))
                });
                match wrong {
                    Some(line) => Err(malformed(format!("its merge {line:?} makes no token"))),
                    None => Ok(()),
                }
            }
        }
    }

    /// The merges, as pairs.
    fn pairs(&self) -> Result<Vec<(String, String)>> {
        let pair = |(first, second): (&str, &str)| (first.to_owned(), second.to_owned());
        match &self.merges {
            Merges::Listed(lines) => {
                let pairs = lines.iter().map(|line| line.split_once(' ').map(pair));
                let pairs: Option<Vec<_>> = pairs.collect();
                pairs.ok_or_else(|| malformed("one of its merges is not a pair"))
            }
            Merges::Rebuilt(order) => {
                let ids = self.ids();
                let cuts = order.iter().flat_map(|id| cuts(&self.tokens[*id as usize], &ids));
                Ok(cuts.map(pair).collect())
            }
        }
    }

    /// Replaces merges by the order of their tokens, if that gives the same ones: a twelfth of their size.
    pub(crate) fn shorten_merges(&mut self) {
        let Merges::Listed(lines) = &self.merges else { return };
        let ids = self.ids();
        let mut order: Vec<u32> = Vec::new();
        for line in lines {
            let Some((first, second)) = line.split_once(' ') else { return };
            let Some(id) = ids.get(&*format!("{first}{second}")) else { return };
            if order.last() != Some(id) {
                order.push(*id);
            }
        }
        let rebuilt = order.iter().flat_map(|id| cuts(&self.tokens[*id as usize], &ids));
        let rebuilt = rebuilt.map(|(first, second)| format!("{first} {second}"));
        if rebuilt.eq(lines.iter().cloned()) {
            self.merges = Merges::Rebuilt(order);
        }
    }

    fn ids(&self) -> HashMap<&str, u32> {
        self.tokens.iter().map(String::as_str).zip(0..).collect()
    }
}

/// Every way to cut a token into two others, by the ids of the parts.
fn cuts<'a>(token: &'a str, ids: &HashMap<&str, u32>) -> Vec<(&'a str, &'a str)> {
    let starts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
    let known = starts.filter_map(|(first, second)| {
        Some(((*ids.get(first)?, *ids.get(second)?), (first, second)))
    });
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    known.into_iter().map(|(_, pair)| pair).collect()
}

fn assemble(bpe: BPE, added: &[AddedToken]) -> tokenizers::Result<Pipeline> {
    let mut pipeline = Pipeline::new(bpe);
    let spaces = Replace::new(ReplacePattern::String(" ".into()), SPACE)?;
    let normalizers: Vec<NormalizerWrapper> = vec![Lowercase.into(), spaces.into()];
    pipeline.with_normalizer(Some(Normalizers::new(normalizers)))?;
    pipeline.add_tokens(added.iter().map(|added| added.token.clone()))?;
    Ok(pipeline)
}
