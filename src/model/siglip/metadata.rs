//! Reads a GGUF's metadata of a tokenizer.

use crate::error::{Error, Result};
use crate::format::gguf::{Header, Value};
use crate::model::siglip::malformed;

/// Which tokenizer it is.
pub(crate) const MODEL: &str = "tokenizer.ggml.model";
pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(crate) const END: &str = "tokenizer.ggml.eos_token_id";
pub(crate) const PADDING: &str = "tokenizer.ggml.padding_token_id";

/// The metadata of a file.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a>(pub &'a Header);

impl<'a> Metadata<'a> {
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key)
    }

    /// The values of an array, each by `read`.
    pub fn list<T>(self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let Some(Value::Array(values)) = self.get(key) else { return Err(wrong(key)) };
        let values: Option<Vec<T>> = values.iter().map(read).collect();
        values.ok_or_else(|| wrong(key))
    }

    pub fn strings(self, key: &str) -> Result<Vec<String>> {
        self.list(key, |value| value.to_string().ok().cloned())
    }

    pub fn number(self, key: &str) -> Result<u32> {
        self.get(key).and_then(|value| value.to_u32().ok()).ok_or_else(|| wrong(key))
    }
}

/// The error for a value that is missing or invalid.
pub(crate) fn wrong(key: &str) -> Error {
    malformed(format!("its metadata has no valid {key}"))
}
