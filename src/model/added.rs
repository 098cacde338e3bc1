//! Tokens that were added to a vocabulary.

use serde::{Deserialize, Serialize};

/// A token that is found in a text before it is split into words, as described in Hugging Face's
/// `tokenizer.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// Its text and how it is matched.
    #[serde(flatten)]
    pub token: tokenizers::AddedToken,
}
