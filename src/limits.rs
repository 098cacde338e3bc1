//! Limits on what a file or a call may request.
//!
//! Images and models may come from strangers. Every number in them that decides how much memory is used, or
//! how long something runs, has a limit here, far above what real images and models need. It is checked
//! before anything of that size is allocated. docs/limits.md lists the limits with their reasons.

use crate::error::{Error, ErrorKind, Result};

/// A quantity that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Pixels of an image.
    Pixels,
    /// Bytes of an image file.
    ImageBytes,
    /// Bytes of memory for decoding an image, including the result.
    DecodeBytes,
    /// Scans of a progressive JPEG; each covers the whole image.
    JpegScans,
    /// Bytes of a text, in UTF-8.
    TextBytes,
    /// Bytes of a model file before its tensors.
    HeaderBytes,
    /// Values in a model's metadata, including every token and merge of its vocabulary.
    MetadataValues,
    /// Tensors of a model file.
    Tensors,
    /// Bytes of memory for a model's weights.
    WeightBytes,
    /// Blocks of a tower.
    Layers,
    /// Values per token or patch between the layers.
    Width,
    /// Values between the two layers of an MLP.
    FeedForward,
    /// Components of an embedding.
    Projection,
    /// Tokens in a vocabulary.
    Vocabulary,
    /// Bytes of one token in a vocabulary.
    TokenBytes,
    /// Tokens of a text, including start and end.
    ContextTokens,
    /// Edge length in pixels of the square image that a model reads.
    ImageSize,
    /// Patches of an image.
    Patches,
    /// Bytes of a JSON file of a checkpoint.
    JsonBytes,
    /// Files that hold a checkpoint's weights.
    Files,
}

/// Name, default, and the words for an error message.
const TABLE: [(Limit, &str, u64, &str); 20] = [
    (Limit::Pixels, "pixels", 120_000_000, "pixels of an image"),
    (Limit::ImageBytes, "imageBytes", 480_000_000, "bytes of an image's file"),
    (Limit::DecodeBytes, "decodeBytes", 1_200_000_000, "bytes of memory to decode an image"),
    (Limit::JpegScans, "jpegScans", 64, "scans of a JPEG"),
    (Limit::TextBytes, "textBytes", 1_000_000, "bytes of a text"),
    (Limit::HeaderBytes, "headerBytes", 16_777_216, "bytes of a model file's header"),
    (Limit::MetadataValues, "metadataValues", 1_000_000, "values of a model's metadata"),
    (Limit::Tensors, "tensors", 10_000, "tensors of a model file"),
    (Limit::WeightBytes, "weightBytes", 4_294_967_296, "bytes of memory for a model's weights"),
    (Limit::Layers, "layers", 256, "layers of a tower"),
    (Limit::Width, "width", 16_384, "values of a layer's width"),
    (Limit::FeedForward, "feedForward", 65_536, "values within an MLP"),
    (Limit::Projection, "projection", 16_384, "components of an embedding"),
    (Limit::Vocabulary, "vocabulary", 500_000, "tokens of a vocabulary"),
    (Limit::TokenBytes, "tokenBytes", 256, "bytes of a token"),
    (Limit::ContextTokens, "contextTokens", 4096, "tokens of a text that is read"),
    (Limit::ImageSize, "imageSize", 2048, "pixels of the edge that a model reads"),
    (Limit::Patches, "patches", 4096, "patches of an image"),
    (Limit::JsonBytes, "jsonBytes", 67_108_864, "bytes of a file of JSON"),
    (Limit::Files, "files", 100, "files of weights"),
];

impl Limit {
    /// All limits, in the order of the table in docs/limits.md.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.into_iter().map(|(limit, ..)| limit)
    }

    /// The name on the command line and in JavaScript, such as `textBytes`.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    fn counts(self) -> &'static str {
        TABLE[self as usize].3
    }

    /// An image that is too large has its own, older error code.
    fn kind(self) -> ErrorKind {
        match self {
            Self::Pixels | Self::ImageBytes | Self::DecodeBytes => ErrorKind::ImageTooLarge,
            _ => ErrorKind::LimitExceeded,
        }
    }
}

/// The highest accepted value of each [`Limit`].
///
/// ```
/// use clip_wasm::{ErrorKind, Limit, Limits};
///
/// let mut limits = Limits::default();
/// limits.set("textBytes", 2_000_000)?; // or limits.with(Limit::TextBytes, 2_000_000)
/// assert_eq!(limits.get(Limit::TextBytes), 2_000_000);
/// assert_eq!(limits.set("bytes", 1).unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), clip_wasm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([u64; TABLE.len()]);

impl Default for Limits {
    fn default() -> Self {
        Self(TABLE.map(|(_, _, most, _)| most))
    }
}

impl Limits {
    /// The highest accepted value.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// The same limits with one changed.
    #[must_use]
    pub fn with(mut self, limit: Limit, most: u64) -> Self {
        self.0[limit as usize] = most;
        self
    }

    /// Changes the limit with this [name](Limit::name).
    ///
    /// # Errors
    /// `invalid_input` if no limit has this name.
    pub fn set(&mut self, name: &str, most: u64) -> Result<()> {
        let Some(limit) = Limit::all().find(|limit| limit.name() == name) else {
            let names: Vec<_> = Limit::all().map(Limit::name).collect();
            let message = format!("there is no limit {name:?}; use one of {}", names.join(", "));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        *self = self.with(limit, most);
        Ok(())
    }

    /// Accepts `asked` unless it exceeds the limit.
    ///
    /// # Errors
    /// `image_too_large` or `limit_exceeded`; the message has the limit, its value, the requested value,
    /// and how to raise it.
    pub fn check(&self, limit: Limit, asked: u64) -> Result<()> {
        let most = self.get(limit);
        if asked <= most {
            return Ok(());
        }
        let (name, counts) = (limit.name(), limit.counts());
        let instead = match limit.kind() {
            ErrorKind::ImageTooLarge => "scale it down first",
            _ => "use another",
        };
        let message = format!(
            "{asked} {counts} are more than the limit of {most}; {instead}, or raise the limit {name} if you trust its source"
        );
        Err(Error::new(limit.kind(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_limits() {
        for (place, limit) in Limit::all().enumerate() {
            assert_eq!(limit as usize, place, "{limit:?}");
        }
    }
}
