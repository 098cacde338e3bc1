//! What models of every family have: towers, and the sizes of their layers.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::model::preprocessor;
use crate::preprocess::Preprocess;

/// The nonlinearity between the two layers of an MLP.
///
/// candle's own `Activation` has no GELU. OpenCLIP's LAION and DataComp checkpoints would run without it
/// but give wrong vectors, so the towers use this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * Φ(x)` by the error function: OpenCLIP's LAION and DataComp checkpoints.
    Gelu,
    /// GELU by the hyperbolic tangent, `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`: SigLIP.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`: OpenAI's checkpoints, MetaCLIP and DFN.
    QuickGelu,
}

impl Activation {
    /// Its name in a Hugging Face `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::QuickGelu => "quick_gelu",
        }
    }

    /// The activation with this name.
    ///
    /// ```
    /// # use clip_wasm::model::config::Activation;
    /// assert_eq!(Activation::named("gelu")?, Activation::Gelu);
    /// # Ok::<(), clip_wasm::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_input` if there is no such activation.
    pub fn named(name: &str) -> Result<Self> {
        let known = [Self::Gelu, Self::QuickGelu].into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "the activation must be gelu or quick_gelu")
        })
    }
}

/// One of a model's two encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// Encodes texts.
    Text,
    /// Encodes images.
    Vision,
}

impl Tower {
    /// Its name in [`crate::ModelInfo`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vision => "vision",
        }
    }
}

/// The sizes that the layers of both kinds of tower have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSizes {
    /// Number of residual attention blocks.
    pub layers: usize,
    /// Number of values per token or patch between the layers.
    pub width: usize,
    /// Number of values between the two layers of an MLP.
    pub feed_forward: usize,
    /// Number of attention heads; they divide the width among them.
    pub heads: usize,
    /// The epsilon that layer norms add to the variance.
    pub layer_norm_eps: f64,
}

impl LayerSizes {
    /// Number of values per head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }
}

/// The token whose state becomes the vector of a text, by open_clip's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The first end token.
    #[default]
    Eos,
    /// The first token with the highest id, as in the original CLIP. If tokens were added after the end
    /// token, this is one of them.
    Argmax,
}

impl Pooling {
    /// Its name in a GGUF's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Argmax => "argmax",
        }
    }
}

/// What kind of model it is: how its towers begin and end, and what a cosine means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// CLIP: a softmax over cosines.
    #[default]
    Clip,
    /// SigLIP and SigLIP 2, of fixed image sizes: a sigmoid of each cosine.
    Siglip,
}

impl Family {
    /// Its name, as `general.architecture` of a GGUF and the first part of its keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Siglip => "siglip",
        }
    }
}

/// The structure of a model. Everything has been validated: the heads divide the width, the patches
/// fit the image, and no number exceeds its limit.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// What kind of model it is.
    pub family: Family,
    /// The activation of both towers.
    pub activation: Activation,
    /// The number of components in an embedding.
    pub projection_dim: usize,
    /// The factor for cosines before a softmax or a sigmoid, if the file states it: clip.cpp's own files do not.
    pub logit_scale: Option<f32>,
    /// What a SigLIP adds to a scaled cosine before the sigmoid.
    pub logit_bias: Option<f32>,
    /// `None` if the file has no text tower.
    pub text: Option<TextConfig>,
    /// `None` if the file has no vision tower.
    pub vision: Option<VisionConfig>,
}

/// The text tower.
#[derive(Clone, Debug)]
pub struct TextConfig {
    /// The sizes of its layers.
    pub sizes: LayerSizes,
    /// The number of rows of the token embedding.
    pub vocabulary: usize,
    /// The most tokens of a text.
    pub context: usize,
    /// The token whose state becomes the vector of a text.
    pub pooling: Pooling,
}

/// The vision tower.
#[derive(Clone, Debug)]
pub struct VisionConfig {
    /// The sizes of its layers.
    pub sizes: LayerSizes,
    /// The edge length of the square image it reads, in pixels.
    pub image_size: usize,
    /// The edge length of the square patches that an image is cut into, in pixels.
    pub patch_size: usize,
    /// How an image is prepared for the tower.
    pub preprocess: Preprocess,
}

impl VisionConfig {
    /// Number of patches along one edge of the image.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

impl ModelConfig {
    /// The towers that the model has.
    pub fn towers(&self) -> Vec<Tower> {
        let text = self.text.as_ref().map(|_| Tower::Text);
        let vision = self.vision.as_ref().map(|_| Tower::Vision);
        text.into_iter().chain(vision).collect()
    }

    /// Checks what the types cannot; everything that creates a configuration calls it.
    pub(crate) fn validate(&self, limits: &Limits) -> Result<()> {
        bounded("projection_dim", self.projection_dim, Limit::Projection, limits)?;
        if self.logit_scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            return Err(malformed("its logit scale must be a positive number"));
        }
        if self.logit_bias.is_some_and(|bias| !bias.is_finite()) {
            return Err(malformed("its logit bias must be a number"));
        }
        if let Some(text) = &self.text {
            validate_layers("text", &text.sizes, limits)?;
            bounded("text.context_length", text.context, Limit::ContextTokens, limits)?;
            bounded("text vocabulary", text.vocabulary, Limit::Vocabulary, limits)?;
        }
        if let Some(vision) = &self.vision {
            validate_layers("vision", &vision.sizes, limits)?;
            bounded("vision.image_size", vision.image_size, Limit::ImageSize, limits)?;
            within("vision.patch_size", vision.patch_size, vision.image_size)?;
            let patches = vision.grid().saturating_mul(vision.grid());
            bounded("patches", patches, Limit::Patches, limits)?;
            preprocessor::validate(&vision.preprocess, limits)?;
        }
        Ok(())
    }
}

/// Checks the sizes of a tower's layers.
///
/// # Errors
/// `malformed_model` for an invalid size, `limit_exceeded` for one that is too large; the message names the
/// key.
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
            format!("{tower}: width {} is not divisible by {} heads", sizes.width, sizes.heads);
        return Err(malformed(what));
    }
    if !(sizes.layer_norm_eps > 0.0 && sizes.layer_norm_eps < 1.0) {
        return Err(malformed(format!("{tower}: layer_norm_epsilon must be between 0 and 1")));
    }
    Ok(())
}

/// Checks that a number is positive and within a limit.
///
/// # Errors
/// `malformed_model` for zero, `limit_exceeded`.
pub fn bounded(name: &str, value: usize, limit: Limit, limits: &Limits) -> Result<()> {
    within(name, value, usize::MAX)?;
    limits
        .check(limit, value as u64)
        .map_err(|error| error.context(format_args!("this model's {name}")))
}

/// Checks that a number is between 1 and `most`.
///
/// # Errors
/// `malformed_model`
pub fn within(name: &str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(malformed(format!("{name} is {value}, which is not between 1 and {most}")))
}

/// The error for a file whose numbers contradict each other.
pub fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this model file is damaged: {what}; download it again or use another");
    Error::new(ErrorKind::MalformedModel, message)
}

/// The error for a file that lacks a tensor.
pub fn missing(name: &str) -> Error {
    let message = format!("tensor {name} is missing from the file; use a complete one");
    Error::new(ErrorKind::MissingTensor, message)
}

/// The error for a call that needs a tower that is not loaded.
pub fn tower_not_loaded(tower: Tower) -> Error {
    let message = format!(
        "no {} tower is loaded: load it too, or another model if this one has none",
        tower.name()
    );
    Error::new(ErrorKind::MissingTower, message)
}

/// The error for a file that lacks a tower that is to be loaded.
pub fn missing_tower(tower: Tower) -> Error {
    let inputs = match tower {
        Tower::Text => "texts",
        Tower::Vision => "images",
    };
    let message =
        format!("this model has no {} tower; load one that embeds {inputs}", tower.name());
    Error::new(ErrorKind::MissingTower, message)
}
