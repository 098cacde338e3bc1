//! What can go wrong, with a stable code for each case.

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in a form that callers may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are no model at all: an HTML page, an archive, an empty file.
    NotAModel,
    /// The model file ends before its last tensor.
    TruncatedModel,
    /// The model file contradicts itself: offsets, counts or shapes that cannot be.
    MalformedModel,
    /// A model, but not a plain ViT CLIP that this crate computes.
    UnsupportedModel,
    /// The model file lacks a tensor that its own metadata calls for.
    MissingTensor,
    /// The model has no encoder for this kind of input.
    MissingTower,
    /// The bytes are in no image format that is decoded here.
    UnsupportedImage,
    /// An image that is cut short or damaged.
    CorruptImage,
    /// An image that is larger than the [limits](crate::Limits) allow: its file, its pixels, or what decoding takes.
    ImageTooLarge,
    /// A text or a model that asks for more than the [limits](crate::Limits) allow.
    LimitExceeded,
    /// There is no memory for what is asked for. What has been loaded goes on working.
    LowMemory,
    /// A list of inputs without an input.
    EmptyInput,
    /// An input of the wrong type.
    InvalidInput,
    /// A file could not be read or written.
    Io,
    /// A fault of this crate.
    Internal,
}

impl ErrorKind {
    /// The stable name of this kind, as it stands in the JSON form.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAModel => "not_a_model",
            Self::TruncatedModel => "truncated_model",
            Self::MalformedModel => "malformed_model",
            Self::UnsupportedModel => "unsupported_model",
            Self::MissingTensor => "missing_tensor",
            Self::MissingTower => "missing_tower",
            Self::UnsupportedImage => "unsupported_image",
            Self::CorruptImage => "corrupt_image",
            Self::ImageTooLarge => "image_too_large",
            Self::LimitExceeded => "limit_exceeded",
            Self::LowMemory => "low_memory",
            Self::EmptyInput => "empty_input",
            Self::InvalidInput => "invalid_input",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that fits this kind, as it stands in the JSON form.
    pub fn status_code(self) -> u16 {
        match self {
            Self::EmptyInput | Self::InvalidInput | Self::MissingTower => 400,
            Self::ImageTooLarge | Self::LimitExceeded => 413,
            Self::UnsupportedImage => 415,
            Self::NotAModel
            | Self::TruncatedModel
            | Self::MalformedModel
            | Self::UnsupportedModel
            | Self::MissingTensor
            | Self::CorruptImage => 422,
            Self::Io | Self::Internal => 500,
            Self::LowMemory => 507,
        }
    }
}

/// An error with its kind, what was being done, and what caused it.
///
/// ```
/// let error = clip_wasm::decode::decode(b"a text").unwrap_err();
/// assert_eq!((error.code(), error.kind().status_code()), ("unsupported_image", 415));
/// println!("{error}"); // what is wrong, and what can be done
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// `empty_input`, with what to do about it.
    pub fn empty_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::EmptyInput, message)
    }

    /// The same error, said of a file, an input or a tensor.
    #[must_use]
    pub fn context(mut self, of: impl fmt::Display) -> Self {
        self.message = format!("{of}: {}", self.message);
        self
    }

    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable code of the kind, such as `missing_tensor`.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code())?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Inputs are checked before they become tensors, so a candle error is a fault of this crate.
impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Self {
        Self::new(ErrorKind::Internal, format!("the computation failed: {source}"))
            .with_source(source)
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        let message = match source.kind() {
            std::io::ErrorKind::IsADirectory => {
                "this is a folder, not a file; of a checkpoint's, make a GGUF with `clip-wasm convert`".into()
            }
            _ => source.to_string(),
        };
        Self::new(ErrorKind::Io, message).with_source(source)
    }
}
