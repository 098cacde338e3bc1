//! Reads a GGUF's metadata into a validated [`ClipConfig`].

use candle_transformers::models::clip::text_model::{
    Activation as StockActivation, ClipTextConfig,
};
use candle_transformers::models::clip::vision_model::ClipVisionConfig;

use crate::error::Result;
use crate::format::gguf::{Header, Value};
use crate::limits::{Limit, Limits};
use crate::model::clip::preprocessor;
use crate::model::config::{
    Activation, LayerSizes, Tower, bounded, malformed, missing, validate_layers, within,
};
use crate::model::family::{self, unsupported};
use crate::preprocess::Preprocess;

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

/// The structure of a CLIP model. Everything has been validated: the heads divide the width, the patches
/// fit the image, and no number exceeds its limit.
#[derive(Clone, Debug)]
pub struct ClipConfig {
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// The activation of both towers.
    pub activation: Activation,
    /// The number of components in an embedding.
    pub projection_dim: usize,
    /// The factor for cosines before a softmax, if the file states it: clip.cpp's own files do not.
    pub logit_scale: Option<f32>,
    /// `None` if the file has no text tower.
    pub text: Option<TextConfig>,
    /// `None` if the file has no vision tower.
    pub vision: Option<VisionConfig>,
}

/// The text tower. `stock.activation` is candle's field and is not used; see [`ClipConfig::activation`].
#[derive(Clone, Debug)]
pub struct TextConfig {
    /// candle's own configuration: widths, layers, heads, vocabulary.
    pub stock: ClipTextConfig,
    /// The epsilon that layer norms add to the variance.
    pub layer_norm_eps: f64,
    /// The token whose state becomes the vector of a text.
    pub pooling: Pooling,
}

/// The vision tower. `stock.activation` is candle's field and is not used; see [`ClipConfig::activation`].
#[derive(Clone, Debug)]
pub struct VisionConfig {
    /// candle's own configuration: widths, layers, heads, sizes of image and patch.
    pub stock: ClipVisionConfig,
    /// The epsilon that layer norms add to the variance.
    pub layer_norm_eps: f64,
    /// How an image is prepared for the tower.
    pub preprocess: Preprocess,
}

impl TextConfig {
    /// The sizes of its layers.
    pub fn sizes(&self) -> LayerSizes {
        LayerSizes {
            layers: self.stock.num_hidden_layers,
            width: self.stock.embed_dim,
            feed_forward: self.stock.intermediate_size,
            heads: self.stock.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
        }
    }
}

impl VisionConfig {
    /// The sizes of its layers.
    pub fn sizes(&self) -> LayerSizes {
        LayerSizes {
            layers: self.stock.num_hidden_layers,
            width: self.stock.embed_dim,
            feed_forward: self.stock.intermediate_size,
            heads: self.stock.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
        }
    }

    /// Number of patches along one edge of the image.
    pub fn grid(&self) -> usize {
        self.stock.image_size / self.stock.patch_size
    }
}

/// The metadata key of [`ClipConfig::logit_scale`]; only this crate uses it.
pub(crate) const LOGIT_SCALE: &str = "clip.logit_scale";

/// The metadata key of [`TextConfig::pooling`]; only this crate uses it. A file without it pools at the end
/// token.
pub(crate) const POOL_TYPE: &str = "clip.text.pool_type";

/// candle's configuration types require an activation; it is never read.
pub(crate) const UNREAD: StockActivation = StockActivation::QuickGelu;

impl ClipConfig {
    /// The towers that the model has.
    pub fn towers(&self) -> Vec<Tower> {
        let text = self.text.as_ref().map(|_| Tower::Text);
        let vision = self.vision.as_ref().map(|_| Tower::Vision);
        text.into_iter().chain(vision).collect()
    }

    /// Reads the configuration of a GGUF in clip.cpp's layout.
    ///
    /// # Errors
    /// `unsupported_model` if the file is not a plain ViT CLIP; `malformed_model` if a number is missing or
    /// invalid; `limit_exceeded` if a number is too large. The message names the cause.
    pub fn from_gguf(header: &Header, limits: &Limits) -> Result<Self> {
        family::expect_clip(header)?;
        let metadata = Metadata { header };
        let has_text = metadata.flag("clip.has_text_encoder")?.unwrap_or(false);
        let has_vision = metadata.flag("clip.has_vision_encoder")?.unwrap_or(false);
        let text = has_text.then(|| metadata.text()).transpose()?;
        let vision = has_vision.then(|| metadata.vision()).transpose()?;
        let projection_dim = text.as_ref().map(|text| text.stock.projection_dim);
        let projection_dim = projection_dim.or(vision.as_ref().map(|v| v.stock.projection_dim));
        let config = Self {
            name: metadata.string("general.name"),
            activation: match metadata.flag("clip.use_gelu")? {
                Some(true) => Activation::Gelu,
                Some(false) | None => Activation::QuickGelu,
            },
            projection_dim: projection_dim
                .ok_or_else(|| malformed("it has neither a text nor a vision encoder"))?,
            logit_scale: metadata.logit_scale()?,
            text,
            vision,
        };
        config.validate(limits)?;
        Ok(config)
    }

    /// Checks what the types cannot; everything that creates a configuration calls it.
    pub(crate) fn validate(&self, limits: &Limits) -> Result<()> {
        bounded("projection_dim", self.projection_dim, Limit::Projection, limits)?;
        if self.logit_scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            return Err(malformed(format!("{LOGIT_SCALE} must be a positive number")));
        }
        if let Some(text) = &self.text {
            validate_layers("text", &text.sizes(), limits)?;
            let (context, vocabulary) = (text.stock.max_position_embeddings, text.stock.vocab_size);
            bounded("text.context_length", context, Limit::ContextTokens, limits)?;
            bounded("text vocabulary", vocabulary, Limit::Vocabulary, limits)?;
            if text.stock.projection_dim != self.projection_dim {
                return Err(malformed("its towers project to different lengths"));
            }
        }
        if let Some(vision) = &self.vision {
            validate_layers("vision", &vision.sizes(), limits)?;
            bounded("vision.image_size", vision.stock.image_size, Limit::ImageSize, limits)?;
            within("vision.patch_size", vision.stock.patch_size, vision.stock.image_size)?;
            let patches = vision.grid().saturating_mul(vision.grid());
            bounded("patches", patches, Limit::Patches, limits)?;
            if vision.stock.projection_dim != self.projection_dim {
                return Err(malformed("its towers project to different lengths"));
            }
            preprocessor::validate(&vision.preprocess, limits)?;
        }
        Ok(())
    }
}

struct Metadata<'a> {
    header: &'a Header,
}

impl Metadata<'_> {
    fn text(&self) -> Result<TextConfig> {
        let vocabulary = self.shape("t.token_embd.weight")?;
        let stock = ClipTextConfig {
            vocab_size: vocabulary.first().copied().unwrap_or(0),
            embed_dim: self.number("clip.text.embedding_length")?,
            activation: UNREAD,
            intermediate_size: self.number("clip.text.feed_forward_length")?,
            max_position_embeddings: self.number("clip.text.context_length")?,
            pad_with: None,
            num_hidden_layers: self.number("clip.text.block_count")?,
            num_attention_heads: self.number("clip.text.attention.head_count")?,
            projection_dim: self.shape("text_projection.weight")?[0],
        };
        let layer_norm_eps = self.float("clip.text.attention.layer_norm_epsilon")?;
        Ok(TextConfig { stock, layer_norm_eps, pooling: self.pooling()? })
    }

    fn vision(&self) -> Result<VisionConfig> {
        let stock = ClipVisionConfig {
            embed_dim: self.number("clip.vision.embedding_length")?,
            activation: UNREAD,
            intermediate_size: self.number("clip.vision.feed_forward_length")?,
            num_hidden_layers: self.number("clip.vision.block_count")?,
            num_attention_heads: self.number("clip.vision.attention.head_count")?,
            projection_dim: self.shape("visual_projection.weight")?[0],
            num_channels: 3,
            image_size: self.number("clip.vision.image_size")?,
            patch_size: self.number("clip.vision.patch_size")?,
        };
        let mean = self.channels("clip.vision.image_mean")?;
        let std = self.channels("clip.vision.image_std")?;
        Ok(VisionConfig {
            layer_norm_eps: self.float("clip.vision.attention.layer_norm_epsilon")?,
            preprocess: preprocessor::of_gguf(self.header, stock.image_size, mean, std)?,
            stock,
        })
    }

    /// The projection's size is read from the tensor, because some files' `projection_dim` is a different
    /// number.
    fn shape(&self, name: &str) -> Result<&[usize]> {
        let tensor = self.header.tensors.iter().find(|tensor| tensor.name == name);
        let shape = tensor.map(|tensor| tensor.shape.as_slice()).ok_or_else(|| missing(name))?;
        if shape.len() == 2 {
            Ok(shape)
        } else {
            Err(malformed(format!("{name} must be a matrix, not {shape:?}")))
        }
    }

    fn get(&self, key: &str) -> Result<&Value> {
        self.header.get(key).ok_or_else(|| malformed(format!("its metadata has no {key}")))
    }

    fn number(&self, key: &str) -> Result<usize> {
        let number = match *self.get(key)? {
            Value::U8(n) => Some(usize::from(n)),
            Value::U16(n) => Some(usize::from(n)),
            Value::U32(n) => usize::try_from(n).ok(),
            Value::U64(n) => usize::try_from(n).ok(),
            Value::I32(n) => usize::try_from(n).ok(),
            Value::I64(n) => usize::try_from(n).ok(),
            _ => None,
        };
        number.ok_or_else(|| malformed(format!("{key} is not a whole number")))
    }

    fn float(&self, key: &str) -> Result<f64> {
        let value = self.get(key)?.to_f32();
        value.map(f64::from).map_err(|_| malformed(format!("{key} is not a number")))
    }

    fn pooling(&self) -> Result<Pooling> {
        let Some(value) = self.header.get(POOL_TYPE) else { return Ok(Pooling::Eos) };
        let known = [Pooling::Eos, Pooling::Argmax];
        let name = value.to_string().map_or("not a string", String::as_str);
        let found = known.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| unsupported(format!("its {POOL_TYPE} is {name}")))
    }

    fn logit_scale(&self) -> Result<Option<f32>> {
        let Some(value) = self.header.get(LOGIT_SCALE) else { return Ok(None) };
        let scale = value.to_f32();
        scale.map(Some).map_err(|_| malformed(format!("{LOGIT_SCALE} is not a number")))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        let value = self.header.get(key).map(Value::to_bool).transpose();
        value.map_err(|_| malformed(format!("{key} is neither true nor false")))
    }

    fn string(&self, key: &str) -> Option<String> {
        let value = self.header.get(key)?.to_string().ok()?;
        (!value.is_empty()).then(|| value.clone())
    }

    fn channels(&self, key: &str) -> Result<[f32; 3]> {
        let wrong = || malformed(format!("{key} is not three numbers"));
        let values = self.get(key)?.to_vec().map_err(|_| wrong())?;
        let values: Vec<f32> = values.iter().filter_map(|value| value.to_f32().ok()).collect();
        values.try_into().map_err(|_| wrong())
    }
}
