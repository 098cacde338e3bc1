//! The tokenizer of a model, whatever its family.

use crate::error::Result;
use crate::model::tokens::Tokens;
use crate::model::{clip, siglip};

/// Turns texts into [`Tokens`].
pub enum Tokenizer {
    /// CLIP's.
    Clip(Box<clip::tokenizer::Tokenizer>),
    /// A SigLIP's.
    Siglip(siglip::tokenizer::Tokenizer),
}

impl Tokenizer {
    /// The ids of a text, truncated to the model's context.
    ///
    /// # Errors
    /// `low_memory` if there is not enough memory for a very long text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        match self {
            Self::Clip(tokenizer) => tokenizer.encode(text),
            Self::Siglip(tokenizer) => tokenizer.encode(text),
        }
    }
}
