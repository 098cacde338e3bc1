//! String -> token ids, as Hugging Face's `CLIPTokenizerFast` gives them.
//!
//! OpenAI's own tokenizer also mends text (curly quotes, ligatures, HTML entities) before it begins;
//! Hugging Face's does not, and is the one followed here.

use std::collections::HashMap;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{Lowercase, NFC, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::memory;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Marks the last symbol of a word.
const END_OF_WORD: &str = "</w>";
/// The pattern of the published `tokenizer.json`.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Half of the numbers that the tokenizer holds for a byte of text, at most: where each character comes from, for
/// each of the forms that a text goes through. Letters take two thirds of that, Chinese all.
const ENCODING_PLACES: u64 = 10;
/// Bytes for a token and its merge while a tokenizer is made, for words of the usual length.
const BYTES_PER_TOKEN: u64 = 30 * size_of::<usize>() as u64;

/// Turns texts into [`Tokens`].
///
/// ```
/// use clip_wasm::tokenizer::Tokenizer;
///
/// let vocabulary = ["c", "a", "t", "t</w>", "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"];
/// let tokenizer = Tokenizer::from_vocabulary(vocabulary.map(String::from).to_vec(), None, 4)?;
/// assert_eq!(tokenizer.encode("Cat")?.ids(), [6, 5, 7]);
/// assert!(tokenizer.encode("cat cat cat")?.truncated());
/// # Ok::<(), clip_wasm::Error>(())
/// ```
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    context_length: usize,
}

/// The ids of one text: a start token, at most `context_length - 2` of the text, an end token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    end: usize,
    count: usize,
}

impl Tokens {
    /// Every id, unpadded.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where the first end token stands. It is the last one, unless the text itself spells an end
    /// token: CLIP pools at the first.
    pub fn end(&self) -> usize {
        self.end
    }

    /// How many there would be of the whole text, start and end included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether the text was longer than the model reads.
    pub fn truncated(&self) -> bool {
        self.count > self.ids.len()
    }
}

impl Tokenizer {
    /// Builds the tokenizer of a vocabulary, which is `tokens` in id order. The merges may be left out,
    /// as clip.cpp's files do: see [`rebuild_merges`].
    ///
    /// # Errors
    /// `malformed_model` where the vocabulary is none of CLIP's scheme; `low_memory`.
    pub fn from_vocabulary(
        tokens: Vec<String>,
        merges: Option<Vec<String>>,
        context_length: usize,
    ) -> Result<Self> {
        if context_length < 2 {
            return Err(malformed(format!("a context of {context_length} tokens holds no text")));
        }
        make_room(tokens.len())?;
        let merges = match merges {
            Some(merges) => parse_merges(&merges)?,
            None => rebuild_merges(&tokens),
        };
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
        let tokenizer = assemble(bpe).map_err(|source| {
            Error::new(ErrorKind::Internal, format!("the tokenizer could not be built: {source}"))
        })?;
        let tokenizer = Self { tokenizer, start, end, context_length };
        // The first text makes its patterns' automata: better now, while the weights are still on their way.
        tokenizer.encode("it's 1 photo!")?;
        Ok(tokenizer)
    }

    /// The ids of `text`. What does not fit the context is cut off before the end token, as Hugging
    /// Face's `truncation=True` does.
    ///
    /// # Errors
    /// `low_memory` where a text is so long that there is none for what becomes of it on the way.
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
        let end = ids.iter().position(|id| *id == self.end).expect("the end token was just pushed");
        Ok(Tokens { ids, end, count: words.len() + 2 })
    }
}

/// The pipeline of the published `tokenizer.json`; the start and end tokens are put in by `encode`.
fn assemble(bpe: BPE) -> tokenizers::Result<tokenizers::Tokenizer> {
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    let normalizers: Vec<NormalizerWrapper> = vec![NFC.into(), spaces.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
    let pattern = SplitPattern::Regex(WORDS.into());
    let words = Split::new(pattern, SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::new(false, true, true);
    let pre_tokenizers: Vec<PreTokenizerWrapper> = vec![words.into(), bytes.into()];
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(pre_tokenizers)));
    // The start token is matched in normalised text and the end token in the text as typed, so
    // "<|STARTOFTEXT|>" is one and "<|ENDOFTEXT|>" is not. So it is in the published file.
    tokenizer.add_special_tokens([
        AddedToken::from(START, true).normalized(true),
        AddedToken::from(END, true).normalized(false),
    ])?;
    Ok(tokenizer)
}

/// The merges of a vocabulary made by byte-pair encoding, in order: each longer token is joined from
/// two, and what joins the symbols of its word, lowest id first, until two are left, are those two.
pub fn rebuild_merges(tokens: &[String]) -> Vec<(String, String)> {
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

/// Sees to it that there is memory to make a tokenizer of so many tokens: its tables, each of which grows to twice
/// its size, and a great many small strings.
///
/// # Errors
/// `low_memory`
pub(crate) fn make_room(tokens: usize) -> Result<()> {
    memory::probe(&[BYTES_PER_TOKEN * tokens as u64 / 4; 4])
}

/// Refuses tokens of more bytes than are allowed: to find what one was joined from takes the square of its length.
pub(crate) fn check_tokens(tokens: &[String], limits: &Limits) -> Result<()> {
    let longest = tokens.iter().map(String::len).max().unwrap_or(0);
    limits.check(Limit::TokenBytes, longest as u64)
}

/// The pair that `token` was joined from, or `None` for a symbol.
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

/// The characters of a token, each with its offset, the last with the end-of-word mark.
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
        .map(|line| pair(line).ok_or_else(|| malformed(format!("{line:?} is no merge"))))
        .collect()
}

fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model's tokenizer cannot be read: {what}; use another file");
    Error::new(ErrorKind::MalformedModel, message)
}
