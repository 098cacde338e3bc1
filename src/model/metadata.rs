//! Reads a GGUF's metadata into a validated [`ModelConfig`]. A SigLIP has the keys of a CLIP, under an architecture of its
//! own.

use crate::error::Result;
use crate::format::gguf::{Header, Value};
use crate::limits::Limits;
use crate::model::config::{
    Activation, Family, LayerSizes, ModelConfig, Pooling, TextConfig, VisionConfig, malformed,
    missing,
};
use crate::model::family::{self, unsupported};
use crate::model::preprocessor;

/// The metadata key of [`ModelConfig::logit_scale`]; only this crate uses it.
pub(crate) const LOGIT_SCALE: &str = "clip.logit_scale";

/// The metadata key of [`ModelConfig::logit_bias`]; only this crate uses it.
pub(crate) const LOGIT_BIAS: &str = "clip.logit_bias";

/// The metadata key of [`TextConfig::pooling`]; only this crate uses it. A file without it pools at the end
/// token.
pub(crate) const POOL_TYPE: &str = "clip.text.pool_type";

/// Reads the configuration of a GGUF in clip.cpp's layout.
///
/// # Errors
/// `unsupported_model` if the file is neither a plain ViT CLIP nor a SigLIP; `malformed_model` if a number is missing or
/// invalid; `limit_exceeded` if a number is too large. The message names the cause.
pub fn from_gguf(header: &Header, limits: &Limits) -> Result<ModelConfig> {
    let family = family::of_gguf(header)?;
    let metadata = Metadata { header };
    let has_text = metadata.flag("clip.has_text_encoder")?.unwrap_or(false);
    let has_vision = metadata.flag("clip.has_vision_encoder")?.unwrap_or(false);
    let text = has_text.then(|| metadata.text()).transpose()?;
    let vision = has_vision.then(|| metadata.vision()).transpose()?;
    let projection = |name: &str| metadata.shape(name).map(|shape| shape[0]);
    let of_text = has_text.then(|| projection("text_projection.weight")).transpose()?;
    let of_vision = match (&vision, family) {
        (None, _) => None,
        (Some(_), Family::Clip) => Some(projection("visual_projection.weight")?),
        // Its vision tower ends with attention, and projects nothing.
        (Some(vision), Family::Siglip) => Some(vision.sizes.width),
    };
    if let (Some(of_text), Some(of_vision)) = (of_text, of_vision)
        && of_text != of_vision
    {
        return Err(malformed("its towers project to different lengths"));
    }
    let config = ModelConfig {
        name: metadata.string("general.name"),
        family,
        activation: match (family, metadata.flag("clip.use_gelu")?) {
            (Family::Siglip, _) => Activation::GeluTanh,
            (Family::Clip, Some(true)) => Activation::Gelu,
            (Family::Clip, Some(false) | None) => Activation::QuickGelu,
        },
        projection_dim: of_text
            .or(of_vision)
            .ok_or_else(|| malformed("it has neither a text nor a vision encoder"))?,
        logit_scale: metadata.logit(LOGIT_SCALE)?,
        logit_bias: metadata.logit(LOGIT_BIAS)?,
        text,
        vision,
    };
    config.validate(limits)?;
    Ok(config)
}

struct Metadata<'a> {
    header: &'a Header,
}

impl Metadata<'_> {
    fn text(&self) -> Result<TextConfig> {
        Ok(TextConfig {
            sizes: self.sizes("text")?,
            vocabulary: self.shape("t.token_embd.weight")?[0],
            context: self.number("clip.text.context_length")?,
            pooling: self.pooling()?,
        })
    }

    fn vision(&self) -> Result<VisionConfig> {
        let image_size = self.number("clip.vision.image_size")?;
        let mean = self.channels("clip.vision.image_mean")?;
        let std = self.channels("clip.vision.image_std")?;
        Ok(VisionConfig {
            sizes: self.sizes("vision")?,
            image_size,
            patch_size: self.number("clip.vision.patch_size")?,
            preprocess: preprocessor::of_gguf(self.header, image_size, mean, std)?,
        })
    }

    fn sizes(&self, tower: &str) -> Result<LayerSizes> {
        let number = |key: &str| self.number(&format!("clip.{tower}.{key}"));
        Ok(LayerSizes {
            layers: number("block_count")?,
            width: number("embedding_length")?,
            feed_forward: number("feed_forward_length")?,
            heads: number("attention.head_count")?,
            layer_norm_eps: self.float(&format!("clip.{tower}.attention.layer_norm_epsilon"))?,
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

    fn logit(&self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.header.get(key) else { return Ok(None) };
        value.to_f32().map(Some).map_err(|_| malformed(format!("{key} is not a number")))
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
