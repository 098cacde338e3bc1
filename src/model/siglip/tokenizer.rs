//! The tokenizer of a SigLIP, whichever it has.

use crate::error::Result;
use crate::model::siglip::{gemma, unigram};
use crate::model::tokens::Tokens;

/// Turns texts into [`Tokens`].
pub enum Tokenizer {
    /// SigLIP 2's.
    Gemma(Box<gemma::tokenizer::Tokenizer>),
    /// SigLIP 1's.
    Unigram(unigram::tokenizer::Tokenizer),
}

impl Tokenizer {
    /// The ids of a text, truncated and padded to the model's context.
    ///
    /// # Errors
    /// `low_memory` if there is not enough memory for a very long text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        match self {
            Self::Gemma(tokenizer) => tokenizer.encode(text),
            Self::Unigram(tokenizer) => tokenizer.encode(text),
        }
    }
}
