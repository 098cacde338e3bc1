//! The crate's errors, each with a stable code.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible function in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, for callers to match on. `ModelNotFound`, `AccessDenied`, `CorruptModel`, `Network`,
/// `HttpStatus` and `NotJson` are the command line's, which has a network with the feature `hub`; the
/// library has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not a model: for example an HTML page, an archive or an empty file.
    NotAModel,
    /// The model file ends before its last tensor.
    TruncatedModel,
    /// The model file contradicts itself: its offsets, counts or shapes are invalid.
    MalformedModel,
    /// A model, but not a plain ViT CLIP, which is all this crate supports.
    UnsupportedModel,
    /// The model file lacks a tensor that its own metadata requires.
    MissingTensor,
    /// The model file is not the one that was published: its hash differs.
    CorruptModel,
    /// The Hub has no such model, or does not show it to this caller.
    ModelNotFound,
    /// The Hub gives the model only to other callers.
    AccessDenied,
    /// The model has no encoder for this kind of input.
    MissingTower,
    /// The bytes are not in a supported image format.
    UnsupportedImage,
    /// The image is truncated or damaged.
    CorruptImage,
    /// The image exceeds the [limits](crate::Limits): its file, its pixels, or the memory to decode it.
    ImageTooLarge,
    /// A text or a model exceeds the [limits](crate::Limits).
    LimitExceeded,
    /// There is not enough memory. What was loaded before stays usable.
    LowMemory,
    /// A list of inputs is empty.
    EmptyInput,
    /// An input has the wrong type or an invalid value.
    InvalidInput,
    /// A file could not be read or written.
    Io,
    /// A server did not answer, or the connection ended.
    Network,
    /// A server answered with an error.
    HttpStatus,
    /// A server answered with something else than the JSON that was asked for.
    NotJson,
    /// There is no GPU that can compute this, or it gives wrong vectors. The CPU can.
    GpuUnavailable,
    /// The system has taken the GPU away: its driver was reset, for example. A model has to be loaded again.
    GpuLost,
    /// A bug in this crate.
    Internal,
}

impl ErrorKind {
    /// The stable name of this kind, which the JSON form uses.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAModel => "not_a_model",
            Self::TruncatedModel => "truncated_model",
            Self::MalformedModel => "malformed_model",
            Self::UnsupportedModel => "unsupported_model",
            Self::MissingTensor => "missing_tensor",
            Self::CorruptModel => "corrupt_model",
            Self::ModelNotFound => "model_not_found",
            Self::AccessDenied => "access_denied",
            Self::MissingTower => "missing_tower",
            Self::UnsupportedImage => "unsupported_image",
            Self::CorruptImage => "corrupt_image",
            Self::ImageTooLarge => "image_too_large",
            Self::LimitExceeded => "limit_exceeded",
            Self::LowMemory => "low_memory",
            Self::EmptyInput => "empty_input",
            Self::InvalidInput => "invalid_input",
            Self::Io => "io",
            Self::Network => "network",
            Self::HttpStatus => "http_status",
            Self::NotJson => "not_json",
            Self::GpuUnavailable => "gpu_unavailable",
            Self::GpuLost => "gpu_lost",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status for this kind, which the JSON form uses.
    pub fn status_code(self) -> u16 {
        match self {
            Self::EmptyInput | Self::InvalidInput | Self::MissingTower => 400,
            Self::AccessDenied => 403,
            Self::ModelNotFound => 404,
            Self::ImageTooLarge | Self::LimitExceeded => 413,
            Self::UnsupportedImage => 415,
            Self::NotAModel
            | Self::TruncatedModel
            | Self::MalformedModel
            | Self::UnsupportedModel
            | Self::MissingTensor
            | Self::CorruptModel
            | Self::CorruptImage => 422,
            Self::Io | Self::NotJson | Self::GpuUnavailable | Self::GpuLost | Self::Internal => 500,
            Self::Network | Self::HttpStatus => 502,
            Self::LowMemory => 507,
        }
    }
}

/// An error: its kind, a message with its context, and its cause.
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
    /// The message should say what to do about it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds to the message which file, input or tensor the error is about.
    #[must_use]
    pub fn context(mut self, of: impl fmt::Display) -> Self {
        self.message = format!("{of}: {}", self.message);
        self
    }

    /// The error's kind, for callers to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The kind's stable code, such as `missing_tensor`.
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

/// Inputs are checked before they become tensors, so a candle error means a bug in this crate.
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
                "this is a folder, not a file; if it is a checkpoint's, convert it to GGUF with `clip-wasm convert`".into()
            }
            _ => source.to_string(),
        };
        Self::new(ErrorKind::Io, message).with_source(source)
    }
}
