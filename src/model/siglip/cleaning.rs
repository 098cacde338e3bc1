//! What is done to a text before it is split into tokens.

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::Value;
use crate::model::siglip::metadata::Metadata;

/// The metadata key; only this crate uses it. Without it, texts are cleaned as by transformers.
const CLEANING: &str = "tokenizer.open_clip.clean";
const CANONICALIZE: &str = "canonicalize";

/// Who cleans a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// The tokenizer, as transformers' class does.
    Transformers,
    /// `canonicalize_text` of open_clip, which it does before its tokenizer. What it does before that, ftfy's repair, is not
    /// done here, as for CLIPs.
    OpenClip,
}

impl Cleaning {
    /// Reads the metadata of a GGUF.
    ///
    /// # Errors
    /// `unsupported_model`
    pub(crate) fn of_gguf(metadata: Metadata) -> Result<Self> {
        match metadata.get(CLEANING).map(Value::to_string) {
            None => Ok(Self::Transformers),
            Some(Ok(name)) if name == CANONICALIZE => Ok(Self::OpenClip),
            Some(_) => {
                let message = format!("its {CLEANING} is not {CANONICALIZE}; use another file");
                Err(Error::new(ErrorKind::UnsupportedModel, message))
            }
        }
    }

    /// The metadata for a GGUF.
    pub fn metadata(self) -> Option<(&'static str, Value)> {
        (self == Self::OpenClip).then(|| (CLEANING, Value::String(CANONICALIZE.into())))
    }
}

/// In lower case, without ASCII punctuation, with one space for several, and none at the ends. transformers and open_clip
/// both do this, and call it canonical.
pub(crate) fn canonical(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lower = text.to_lowercase();
    let words =
        lower.split(is_space).map(|word| word.replace(|c: char| c.is_ascii_punctuation(), ""));
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

/// What open_clip makes of a text: `_` stands for a space.
pub(crate) fn canonical_of_open_clip(text: &str) -> String {
    canonical(&text.replace('_', " "))
}

/// What Python takes for a space: four separators more than Unicode's White_Space.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_canonical() {
        for (text, wanted) in [
            ("", ""),
            ("  A  Photo,\tof\n\"ΟΔΟΣ\"!  ", "a photo of οδος"),
            ("a - b_c \u{1f} d", "a bc d"),
            ("▁ x", "▁ x"),
        ] {
            assert_eq!(canonical(text), wanted, "{text:?}");
        }
        assert_eq!(canonical_of_open_clip("A_b, c!"), "a b c");
    }
}
