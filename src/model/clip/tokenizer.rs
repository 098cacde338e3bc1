//! Turns a string into token ids, equal to those of Hugging Face's `CLIPTokenizerFast`.
//!
//! OpenAI's own tokenizer first repairs text (curly quotes, ligatures, HTML entities). Hugging Face's does
//! not, and is the reference here.

use std::collections::{HashMap, HashSet};

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{Lowercase, NFC, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, ErrorKind, Result};
use crate::memory;
use crate::model::added::AddedToken;
use crate::model::config::Pooling;
use crate::model::tokens::Tokens;

pub(crate) const START: &str = "<|startoftext|>";
pub(crate) const END: &str = "<|endoftext|>";
/// Marks the last symbol of a word.
const END_OF_WORD: &str = "</w>";
/// The pattern of the published `tokenizer.json`.
pub(crate) const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Memory to tokenize a text: two lists of at most this many numbers for each byte of it, which say where
/// each character comes from. Chinese needs all of it, Latin letters two thirds.
const ENCODING_PLACES: u64 = 10;
/// Bytes per token and its merge while a tokenizer is built, for words of the usual length.
const BYTES_PER_TOKEN: u64 = 30 * size_of::<usize>() as u64;

/// The data a tokenizer is built from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    /// In id order, including added tokens.
    pub tokens: Vec<String>,
    /// Each merge as `first second`, in the order in which merges are applied. May be absent, as in
    /// clip.cpp's files: see [`Vocabulary::rebuild_merges`].
    pub merges: Option<Vec<String>>,
    /// Tokens that are found in a text before it is split into words. The start and the end token are added
    /// if they are missing here, with the settings of the published `tokenizer.json`.
    pub added: Vec<AddedToken>,
}

/// Turns texts into [`Tokens`].
///
/// ```
/// use clip_wasm::model::config::Pooling;
/// use clip_wasm::model::clip::tokenizer::{Tokenizer, Vocabulary};
///
/// let tokens = ["c", "a", "t", "t</w>", "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"];
/// let tokens = tokens.map(String::from).to_vec();
/// let vocabulary = Vocabulary { tokens, ..Vocabulary::default() };
/// let tokenizer = Tokenizer::new(vocabulary, 4, Pooling::Eos)?;
/// assert_eq!(tokenizer.encode("Cat")?.ids(), [6, 5, 7]);
/// assert!(tokenizer.encode("cat cat cat")?.truncated());
/// # Ok::<(), clip_wasm::Error>(())
/// ```
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    context_length: usize,
    pooling: Pooling,
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary.
    ///
    /// # Errors
    /// `malformed_model` if the vocabulary does not follow CLIP's scheme; `low_memory`.
    pub fn new(vocabulary: Vocabulary, context_length: usize, pooling: Pooling) -> Result<Self> {
        if context_length < 2 {
            return Err(malformed(format!("a context of {context_length} tokens is too short")));
        }
        make_room(vocabulary.tokens.len())?;
        vocabulary.check()?;
        let merges = match &vocabulary.merges {
            Some(merges) => parse_merges(merges)?,
            None => vocabulary.rebuild_merges(),
        };
        let added = vocabulary.added_tokens();
        let count = vocabulary.model_tokens();
        let mut tokens = vocabulary.tokens;
        tokens.truncate(count);
        let vocabulary: HashMap<String, u32> = tokens.into_iter().zip(0..).collect();
        let id = |token: &str| {
            let id = vocabulary.get(token).copied();
            id.ok_or_else(|| malformed(format!("its vocabulary has no {token}")))
        };
        let (start, end) = (id(START)?, id(END)?);
        let bpe = BPE::builder()
            .vocab_and_merges(
                vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                merges,
            )
            .unk_token(END.into())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix(END_OF_WORD.into())
            .build()
            .map_err(|source| malformed(source.to_string()))?;
        let tokenizer = assemble(bpe, &added).map_err(|source| {
            Error::new(ErrorKind::Internal, format!("the tokenizer could not be built: {source}"))
        })?;
        let tokenizer = Self { tokenizer, start, end, context_length, pooling };
        // The first text compiles the tokenizer's patterns: done here, while the weights are still being
        // loaded.
        tokenizer.encode("it's 1 photo!")?;
        Ok(tokenizer)
    }

    /// The ids of `text`. A text that does not fit the context is cut before the end token, like Hugging
    /// Face's `truncation=True`.
    ///
    /// # Errors
    /// `low_memory` if there is not enough memory for a very long text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        memory::probe(&[ENCODING_PLACES * size_of::<usize>() as u64 * text.len() as u64; 2])?;
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|source| {
            Error::new(ErrorKind::Internal, format!("the text could not be tokenized: {source}"))
        })?;
        let most = self.context_length - 2;
        let words = encoding.get_ids();
        let mut ids = Vec::with_capacity(words.len().min(most) + 2);
        ids.push(self.start);
        ids.extend(words.iter().take(most));
        ids.push(self.end);
        let id = match self.pooling {
            Pooling::Eos => self.end,
            Pooling::Argmax => ids.iter().copied().max().unwrap_or(self.end),
        };
        let pooled = ids.iter().position(|it| *it == id).expect("the end token was just pushed");
        Ok(Tokens::new(ids, pooled, words.len() + 2))
    }
}

impl Vocabulary {
    /// The merges of a byte-pair vocabulary, in order. To find a token's pair, start from its characters
    /// and repeatedly join the neighbours whose joined token has the lowest id, until two parts remain.
    pub fn rebuild_merges(&self) -> Vec<(String, String)> {
        let tokens = &self.tokens[..self.model_tokens()];
        let ids: HashMap<&str, usize> =
            tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
        let mut merges = Vec::new();
        for (id, token) in tokens.iter().enumerate() {
            if token != START && token != END {
                merges.extend(last_merge(token, id, &ids));
            }
        }
        merges
    }

    /// Checks that a tokenizer can be built from it.
    ///
    /// # Errors
    /// `malformed_model`, with the token or merge.
    pub fn check(&self) -> Result<()> {
        let known: HashSet<&str> =
            self.tokens[..self.model_tokens()].iter().map(String::as_str).collect();
        for mark in [START, END] {
            if !known.contains(mark) {
                return Err(malformed(format!("its vocabulary has no {mark}")));
            }
        }
        for (first, second) in parse_merges(self.merges.as_deref().unwrap_or_default())? {
            let joined = format!("{first}{second}");
            if let Some(token) =
                [&first, &second, &joined].iter().find(|it| !known.contains(it.as_str()))
            {
                let merge = format!("{first} {second}");
                return Err(malformed(format!(
                    "its merge {merge:?} needs {token:?}, which is not a token"
                )));
            }
        }
        let mut contents = HashSet::new();
        for AddedToken { id, token } in &self.added {
            let content = &token.content;
            let is_it = self.tokens.get(*id as usize) == Some(content);
            if content.is_empty() || !is_it || !contents.insert(content) {
                return Err(malformed(format!("{content:?} cannot be added as token {id}")));
            }
        }
        Ok(())
    }

    /// The id of the end token.
    ///
    /// # Errors
    /// `malformed_model` if there is none.
    pub fn end(&self) -> Result<u32> {
        let id = self.tokens.iter().position(|token| token == END);
        id.map(|id| id as u32).ok_or_else(|| malformed(format!("its vocabulary has no {END}")))
    }

    /// Whether only the start and the end token were added, and both are matched in the usual way.
    pub(crate) fn adds_only_the_marks(&self) -> bool {
        self.added_tokens() == self.marks()
    }

    /// Number of tokens in the byte-pair encoding itself; the tokens after them were added.
    fn model_tokens(&self) -> usize {
        let added =
            self.added.iter().filter(|added| ![START, END].contains(&&*added.token.content));
        let added: HashSet<usize> = added.map(|added| added.id as usize).collect();
        (0..self.tokens.len()).rev().find(|id| !added.contains(id)).map_or(0, |last| last + 1)
    }

    /// All tokens that are found before a text is split into words, in id order.
    fn added_tokens(&self) -> Vec<AddedToken> {
        let known = |id: u32| self.added.iter().any(|added| added.id == id);
        let marks = self.marks().into_iter().filter(|mark| !known(mark.id));
        let mut list: Vec<AddedToken> = self.added.iter().cloned().chain(marks).collect();
        list.sort_by_key(|added| added.id);
        list
    }

    /// The start and the end token as in the published file. The start token is matched in normalised text,
    /// the end token in the original text: so "<|STARTOFTEXT|>" is a token and "<|ENDOFTEXT|>" is not.
    fn marks(&self) -> Vec<AddedToken> {
        let mark = |content: &str, normalized: bool| {
            let id = self.tokens.iter().position(|token| token == content)? as u32;
            let token = tokenizers::AddedToken::from(content, true).normalized(normalized);
            Some(AddedToken { id, token })
        };
        let mut list: Vec<AddedToken> =
            [mark(START, true), mark(END, false)].into_iter().flatten().collect();
        list.sort_by_key(|added| added.id);
        list
    }
}

/// Builds the pipeline of the published `tokenizer.json`, except for the start and end tokens, which
/// `encode` adds.
fn assemble(bpe: BPE, added: &[AddedToken]) -> tokenizers::Result<tokenizers::Tokenizer> {
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    let normalizers: Vec<NormalizerWrapper> = vec![NFC.into(), spaces.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
    let pattern = SplitPattern::Regex(WORDS.into());
    let words = Split::new(pattern, SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::new(false, true, true);
    let pre_tokenizers: Vec<PreTokenizerWrapper> = vec![words.into(), bytes.into()];
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(pre_tokenizers)));
    // Added tokens get their ids by their order.
    tokenizer.add_tokens(added.iter().map(|added| added.token.clone()))?;
    Ok(tokenizer)
}

/// Checks that there is memory to build a tokenizer with that many tokens: its tables, each of which grows
/// to twice its size, and very many small strings.
///
/// # Errors
/// `low_memory`
pub(crate) fn make_room(tokens: usize) -> Result<()> {
    memory::probe(&[BYTES_PER_TOKEN * tokens as u64 / 4; 4])
}

/// The pair that `token` was joined from, or `None` for a single symbol.
fn last_merge(token: &str, id: usize, ids: &HashMap<&str, usize>) -> Option<(String, String)> {
    let mut parts = symbols(token);
    while parts.len() > 2 {
        let joined = parts.windows(2).enumerate().filter_map(|(at, pair)| {
            let end = pair[0].1.len() + pair[1].1.len();
            let joined = &token[pair[0].0..pair[0].0 + end];
            ids.get(joined).filter(|known| **known < id).map(|known| (*known, at))
        });
        let (_, at) = joined.min()?;
        let end = parts[at + 1].0 + parts[at + 1].1.len();
        parts[at].1 = &token[parts[at].0..end];
        parts.remove(at + 1);
    }
    match parts[..] {
        [(_, first), (_, second)] => Some((first.into(), second.into())),
        _ => None,
    }
}

/// The characters of a token, each with its offset; the last includes the end-of-word mark.
fn symbols(token: &str) -> Vec<(usize, &str)> {
    let body = token.strip_suffix(END_OF_WORD).filter(|body| !body.is_empty()).unwrap_or(token);
    let starts: Vec<usize> = body.char_indices().map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([token.len()]);
    starts.iter().zip(ends).map(|(&start, end)| (start, &token[start..end])).collect()
}

fn parse_merges(lines: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |line: &String| {
        let (first, second) = line.split_once(' ')?;
        Some((first.to_string(), second.to_string()))
    };
    lines
        .iter()
        .map(|line| pair(line).ok_or_else(|| malformed(format!("{line:?} is not a merge"))))
        .collect()
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model's tokenizer is invalid: {what}; use another file");
    Error::new(ErrorKind::MalformedModel, message)
}
