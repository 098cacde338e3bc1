//! Reads a SigLIP's tokens from its files into a [`Vocabulary`], and writes them to a GGUF's metadata.

use crate::error::Result;
use crate::format::gguf::{Header, Value};
use crate::limits::Limits;
use crate::model::siglip::cleaning::Cleaning;
use crate::model::siglip::metadata::{MODEL, Metadata, wrong};
use crate::model::siglip::tokenizer::Tokenizer;
use crate::model::siglip::tokenizer_json::File;
use crate::model::siglip::{gemma, unigram};

/// The data a tokenizer is built from.
#[derive(Clone, Debug, PartialEq)]
pub enum Vocabulary {
    /// SigLIP 2's.
    Gemma(gemma::tokenizer::Vocabulary),
    /// SigLIP 1's.
    Unigram(unigram::tokenizer::Vocabulary),
}

/// Reads Hugging Face's `tokenizer.json`.
///
/// # Errors
/// `unsupported_model` if it is neither Gemma's tokenizer nor a SigLIP's unigram; `malformed_model`; `limit_exceeded`.
pub fn of_checkpoint(text: &str, limits: &Limits) -> Result<Vocabulary> {
    let file = File::read(text, limits)?;
    match file.kind() {
        "Unigram" => unigram::vocabulary::of_file(file).map(Vocabulary::Unigram),
        _ => gemma::vocabulary::of_file(file, limits).map(Vocabulary::Gemma),
    }
}

/// Reads the metadata of a GGUF.
///
/// # Errors
/// `malformed_model` if it has no tokens or invalid ones; `limit_exceeded`.
pub fn of_gguf(header: &Header, limits: &Limits) -> Result<Vocabulary> {
    let metadata = Metadata(header);
    let name = metadata.get(MODEL).and_then(|name| name.to_string().ok()).map(String::as_str);
    match name {
        Some(unigram::vocabulary::NAME) => {
            unigram::vocabulary::of_gguf(metadata, limits).map(Vocabulary::Unigram)
        }
        Some(gemma::vocabulary::NAME) => {
            gemma::vocabulary::of_gguf(metadata, limits).map(Vocabulary::Gemma)
        }
        _ => Err(wrong(MODEL)),
    }
}

/// Reads the metadata of a GGUF that says how texts are cleaned.
///
/// # Errors
/// `unsupported_model`
pub fn cleaning_of_gguf(header: &Header) -> Result<Cleaning> {
    Cleaning::of_gguf(Metadata(header))
}

impl Vocabulary {
    /// How many tokens it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Gemma(vocabulary) => vocabulary.tokens.len(),
            Self::Unigram(vocabulary) => vocabulary.tokens.len(),
        }
    }

    /// Checks that a tokenizer can be built from it.
    ///
    /// # Errors
    /// `malformed_model`, with the token.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Gemma(vocabulary) => vocabulary.check(),
            Self::Unigram(vocabulary) => vocabulary.check(),
        }
    }

    /// The metadata for a GGUF.
    pub fn metadata(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Gemma(vocabulary) => gemma::vocabulary::metadata(vocabulary),
            Self::Unigram(vocabulary) => unigram::vocabulary::metadata(vocabulary),
        }
    }

    /// Builds its tokenizer, for texts of `context` tokens that are cleaned like this.
    ///
    /// # Errors
    /// `malformed_model` if it contradicts itself; `low_memory`.
    pub fn tokenizer(self, context: usize, cleaning: Cleaning) -> Result<Tokenizer> {
        Ok(match self {
            Self::Gemma(it) => {
                Tokenizer::Gemma(Box::new(gemma::tokenizer::Tokenizer::new(it, context, cleaning)?))
            }
            Self::Unigram(it) => {
                Tokenizer::Unigram(unigram::tokenizer::Tokenizer::new(it, context, cleaning)?)
            }
        })
    }
}
