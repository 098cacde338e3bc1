//! What the models of every family have: towers, and the sizes of their layers.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};

/// The nonlinearity between the two layers of an MLP.
///
/// candle's own `Activation` has no GELU, without which OpenCLIP's LAION and DataComp checkpoints run
/// and give wrong vectors; this one is what the towers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * Φ(x)` by the error function: OpenCLIP's LAION and DataComp checkpoints.
    Gelu,
    /// `x * sigmoid(1.702 x)`: OpenAI's checkpoints, MetaCLIP and DFN.
    QuickGelu,
}

impl Activation {
    /// The name it has in a Hugging Face `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::QuickGelu => "quick_gelu",
        }
    }

    /// The activation of that name.
    ///
    /// ```
    /// # use clip_wasm::model::config::Activation;
    /// assert_eq!(Activation::named("gelu")?, Activation::Gelu);
    /// # Ok::<(), clip_wasm::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_input` where there is none.
    pub fn named(name: &str) -> Result<Self> {
        let known = [Self::Gelu, Self::QuickGelu].into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "an activation is gelu or quick_gelu")
        })
    }
}

/// One of a model's two encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// Texts to vectors.
    Text,
    /// Images to vectors.
    Vision,
}

impl Tower {
    /// As [`crate::ModelInfo`] names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vision => "vision",
        }
    }
}

/// The sizes that the layers of both towers share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSizes {
    /// Residual attention blocks.
    pub layers: usize,
    /// Values of a token or a patch between the layers.
    pub width: usize,
    /// Values between the two layers of an MLP.
    pub feed_forward: usize,
    /// Heads of attention, which share the width.
    pub heads: usize,
    /// What layer norms add to the variance.
    pub layer_norm_eps: f64,
}

impl LayerSizes {
    /// Values of a head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }
}

/// Checks what the layers of a tower share.
///
/// # Errors
/// `malformed_model` for what cannot be, `limit_exceeded` for what is too large, each with its key.
pub fn validate_layers(tower: &str, sizes: &LayerSizes, limits: &Limits) -> Result<()> {
    for (name, value, limit) in [
        ("block_count", sizes.layers, Limit::Layers),
        ("embedding_length", sizes.width, Limit::Width),
        ("feed_forward_length", sizes.feed_forward, Limit::FeedForward),
    ] {
        bounded(&format!("{tower}.{name}"), value, limit, limits)?;
    }
    within(&format!("{tower}.attention.head_count"), sizes.heads, sizes.width)?;
    if !sizes.width.is_multiple_of(sizes.heads) {
        let what =
            format!("{tower}: width {} does not divide into {} heads", sizes.width, sizes.heads);
        return Err(malformed(what));
    }
    if !(sizes.layer_norm_eps > 0.0 && sizes.layer_norm_eps < 1.0) {
        return Err(malformed(format!("{tower}: layer_norm_epsilon cannot be")));
    }
    Ok(())
}

/// Accepts a number that a limit bounds.
///
/// # Errors
/// `malformed_model` for zero, `limit_exceeded`.
pub fn bounded(name: &str, value: usize, limit: Limit, limits: &Limits) -> Result<()> {
    within(name, value, usize::MAX)?;
    limits
        .check(limit, value as u64)
        .map_err(|error| error.context(format_args!("this model's {name}")))
}

/// Accepts a number that another bounds.
///
/// # Errors
/// `malformed_model`
pub fn within(name: &str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(malformed(format!("{name} is {value}, which is not in 1..={most}")))
}

/// The error of a file whose numbers contradict each other.
pub fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model file is damaged: {what}; download it again or use another");
    Error::new(ErrorKind::MalformedModel, message)
}

/// The error of a file without that tensor.
pub fn missing(name: &str) -> Error {
    let message = format!("tensor {name} is missing from the file; use a complete one");
    Error::new(ErrorKind::MissingTensor, message)
}

/// The error of a model that has not the tower which a call needs.
pub fn missing_tower(tower: Tower) -> Error {
    let inputs = match tower {
        Tower::Text => "texts",
        Tower::Vision => "images",
    };
    let message =
        format!("this model has no {} tower; load one that embeds {inputs}", tower.name());
    Error::new(ErrorKind::MissingTower, message)
}
