//! Turns a string into token ids, equal to those of transformers' `SiglipTokenizer`, which is sentencepiece's with texts in
//! lower case and without punctuation.

use crate::error::Result;
use crate::memory;
use crate::model::siglip::cleaning::{Cleaning, canonical, canonical_of_open_clip, is_space};
use crate::model::siglip::malformed;
use crate::model::siglip::unigram::charsmap::{Charsmap, SPACE};
use crate::model::siglip::unigram::pieces::Pieces;
use crate::model::tokens::Tokens;

/// The token for what has no other.
pub(crate) const UNKNOWN: &str = "<unk>";
/// The token that ends a text, and fills it to the length that the model reads.
pub(crate) const END: &str = "</s>";

/// Memory to tokenize a text, in bytes for each of its own: what it becomes, and where its pieces end.
const ENCODING_BYTES: u64 = 64;
/// Bytes, in tokens that stand for one.
const BYTES: usize = 256;

/// The data a tokenizer is built from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    /// In id order.
    pub tokens: Vec<String>,
    /// The logarithm of each one's probability.
    pub scores: Vec<f32>,
    /// What each one is.
    pub kinds: Vec<Kind>,
    /// sentencepiece's `precompiled_charsmap`; empty if texts are not normalised.
    pub charsmap: Vec<u8>,
}

/// What a token is. The numbers are those of sentencepiece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of a text.
    Normal = 1,
    /// Stands for what has no token.
    Unknown = 2,
    /// Is never a piece of a text.
    Control = 3,
    /// Stands for a byte of a character that has no token.
    Byte = 6,
}

/// Turns texts into [`Tokens`]. All have the model's full length, because it reads the padding too, and pools at the last
/// one.
pub struct Tokenizer {
    charsmap: Charsmap,
    pieces: Pieces,
    /// The token of each byte, if there are such tokens.
    bytes: Option<Vec<u32>>,
    unknown: u32,
    end: u32,
    /// How many tokens [`UNKNOWN`] itself has.
    unknown_length: usize,
    context: usize,
    cleaning: Cleaning,
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary, for texts of `context` tokens.
    ///
    /// # Errors
    /// `malformed_model` if the vocabulary contradicts itself; `low_memory`.
    pub fn new(vocabulary: Vocabulary, context: usize, cleaning: Cleaning) -> Result<Self> {
        let unknown = vocabulary.only(UNKNOWN, Kind::Unknown)?;
        let end = vocabulary.only(END, Kind::Control)?;
        let bytes = vocabulary.bytes()?;
        let charsmap = Charsmap::new(&vocabulary.charsmap)?;
        let all = vocabulary.tokens.into_iter().zip(0..).zip(vocabulary.scores);
        let normal = all.zip(vocabulary.kinds).filter(|(_, kind)| *kind == Kind::Normal);
        let pieces = Pieces::new(normal.map(|(((text, id), score), _)| (text, id, score)))?;
        let mut tokenizer =
            Self { charsmap, pieces, bytes, unknown, end, unknown_length: 0, context, cleaning };
        tokenizer.unknown_length = tokenizer.pieces_of(UNKNOWN)?.len();
        Ok(tokenizer)
    }

    /// The ids of a text: at most `context - 1` of its own, and the end as often as it takes.
    ///
    /// # Errors
    /// `low_memory` if there is not enough memory for a very long text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        memory::probe(&[ENCODING_BYTES * text.len() as u64])?;
        let mut words = match self.cleaning {
            Cleaning::Transformers => self.words(text)?,
            Cleaning::OpenClip => self.pieces_of(&canonical_of_open_clip(text))?,
        };
        // An end that is in the text already is not repeated.
        let is_ended = words.last() == Some(&self.end);
        let count = words.len() + usize::from(!is_ended);
        words.truncate(self.context - 1);
        words.resize(self.context, self.end);
        Ok(Tokens::new(words, self.context - 1, count))
    }

    /// The ids of a whole text, without the end: `SiglipTokenizer.tokenize`.
    fn words(&self, text: &str) -> Result<Vec<u32>> {
        let text = format!("{SPACE}{}", text.replace(SPACE, " "));
        let mut ids = Vec::new();
        let mut rest = text.as_str();
        let mut after_mark = false;
        loop {
            // By their first character, so that a text of many marks is searched once.
            let mark = rest.match_indices('<').find_map(|(at, _)| {
                let marks = [(END, self.end), (UNKNOWN, self.unknown)];
                let (mark, id) =
                    marks.into_iter().find(|(mark, _)| rest[at..].starts_with(mark))?;
                Some((at, mark, id))
            });
            let mut part = &rest[..mark.map_or(rest.len(), |(at, ..)| at)];
            if mark.is_some() {
                part = part.trim_end_matches(is_space);
            }
            if after_mark {
                part = part.trim_start_matches(is_space);
            }
            if !part.is_empty() {
                ids.extend(self.part(part)?);
            }
            let Some((at, mark, id)) = mark else { break };
            ids.push(id);
            after_mark = true;
            rest = &rest[at + mark.len()..];
        }
        Ok(ids)
    }

    /// The ids of a part of a text: `SiglipTokenizer._tokenize`. `<unk>` is put before it, and taken from the result, so that
    /// sentencepiece adds no space to what has none.
    fn part(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.pieces_of(&format!("{UNKNOWN}{}", canonical(text)))?;
        if ids.len() >= self.unknown_length {
            ids.drain(..self.unknown_length);
        }
        Ok(ids)
    }

    /// The ids that sentencepiece gives a text: one for several unknown characters, or one for each of their bytes.
    fn pieces_of(&self, text: &str) -> Result<Vec<u32>> {
        let text = self.charsmap.normalise(text);
        let mut ids = Vec::new();
        let (mut start, mut after_unknown) = (0, false);
        for (length, id) in self.pieces.cut(&text)? {
            let bytes = &text.as_bytes()[start..start + length];
            match (id, &self.bytes) {
                (Some(id), _) => ids.push(id),
                (None, Some(tokens)) => {
                    ids.extend(bytes.iter().map(|byte| tokens[usize::from(*byte)]));
                }
                (None, None) if after_unknown => {}
                (None, None) => ids.push(self.unknown),
            }
            after_unknown = id.is_none();
            start += length;
        }
        Ok(ids)
    }
}

impl Vocabulary {
    /// Checks that a tokenizer can be built from it.
    ///
    /// # Errors
    /// `malformed_model`, with the reason.
    pub fn check(&self) -> Result<()> {
        Tokenizer::new(self.clone(), 1, Cleaning::Transformers).map(drop)
    }

    /// The id of this token, the only one with its name and of its kind.
    fn only(&self, name: &str, kind: Kind) -> Result<u32> {
        if self.scores.len() != self.tokens.len() || self.kinds.len() != self.tokens.len() {
            return Err(malformed("its tokens and their scores differ in number"));
        }
        if self.scores.iter().any(|score| !score.is_finite()) {
            return Err(malformed("a token's score is not a number"));
        }
        let mut named = (0..).zip(&self.tokens).zip(&self.kinds).filter(|((_, token), of)| {
            *token == name || **of == Kind::Unknown && kind == Kind::Unknown
        });
        match (named.next(), named.next()) {
            (Some(((id, token), of)), None) if *of == kind && token == name => Ok(id),
            _ => Err(malformed(format!("it has no {name}, or several"))),
        }
    }

    /// The token of each byte, if it has such tokens.
    fn bytes(&self) -> Result<Option<Vec<u32>>> {
        let of_kind = (0..).zip(&self.kinds).filter(|(_, kind)| **kind == Kind::Byte);
        let ids: Vec<u32> = of_kind.map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        let is_named = |(id, byte): (&u32, usize)| self.tokens[*id as usize] == byte_token(byte);
        if ids.len() != BYTES || !ids.iter().zip(0..).all(is_named) {
            return Err(malformed("it has tokens of bytes, but not one for each in their order"));
        }
        Ok(Some(ids))
    }
}

/// The name of the token that stands for a byte.
pub(crate) fn byte_token(byte: usize) -> String {
    format!("<0x{byte:02X}>")
}
