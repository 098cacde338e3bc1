//! Reads the JSON of a checkpoint into a [`ModelConfig`].

use serde_json::Value;

use crate::error::Result;
use crate::limits::Limits;
use crate::model::config::{
    Activation, Family, LayerSizes, ModelConfig, Pooling, TextConfig, VisionConfig,
};
use crate::model::family::{self, unsupported};
use crate::model::preprocessor;
use crate::model::section::Section;
use crate::preprocess::Preprocess;

const LAYER_NORM_EPS: f64 = 1e-5;
/// The defaults of transformers' `CLIPTextConfig`.
const TEXT_SIZES: LayerSizes = LayerSizes {
    layers: 12,
    width: 512,
    feed_forward: 2048,
    heads: 8,
    layer_norm_eps: LAYER_NORM_EPS,
};
/// The defaults of transformers' `CLIPVisionConfig`.
const VISION_SIZES: LayerSizes =
    LayerSizes { width: 768, feed_forward: 3072, heads: 12, ..TEXT_SIZES };
/// open_clip's `CLIPVisionCfg.head_width`.
const OPEN_CLIP_HEAD_WIDTH: u64 = 64;
/// transformers' `CLIPTextConfig.eos_token_id`.
const EOS_TOKEN_ID: u64 = 49_407;
/// open_clip's `CLIPTextCfg.eos_id`.
const OPEN_CLIP_EOS_ID: u64 = 2;
/// The `model_type` of a separate text tower.
const TEXT_MODEL: &str = "clip_text_model";
/// The `model_type` of a separate vision tower.
const VISION_MODEL: &str = "clip_vision_model";

/// Reads Hugging Face's `config.json`, and the settings of its image processor if there are any. Missing
/// values take transformers' defaults.
///
/// # Errors
/// `unsupported_model` if it is not a plain CLIP; `malformed_model` if it contradicts itself;
/// `limit_exceeded`.
pub fn hugging_face(
    config: &Value,
    image_processor: Option<&Value>,
    limits: &Limits,
) -> Result<ModelConfig> {
    family::expect_clips_type(config, &["clip", TEXT_MODEL, VISION_MODEL])?;
    let (text, vision) = match config.get("model_type").and_then(Value::as_str) {
        Some(TEXT_MODEL) => (Some(Section(vec![config])), None),
        Some(VISION_MODEL) => (None, Some(Section(vec![config]))),
        _ => (
            Some(Section::hugging_face(config, "text")),
            Some(Section::hugging_face(config, "vision")),
        ),
    };
    let mut towers = text.iter().chain(&vision).map(activation);
    let activation = towers.next().expect("there is one tower at least")?;
    if towers.next().transpose()?.is_some_and(|other| other != activation) {
        return Err(unsupported(
            "the towers have different activations, which a GGUF file cannot store",
        ));
    }
    let projection_dim = Section(vec![config]).number("projection_dim", 512)?;
    let text = text.map(|text| hugging_face_text(&text)).transpose()?;
    let vision = vision.map(|vision| hugging_face_vision(&vision, image_processor)).transpose()?;
    finish(activation, projection_dim, text, vision, limits)
}

fn hugging_face_text(text: &Section) -> Result<TextConfig> {
    Ok(TextConfig {
        sizes: text.sizes(TEXT_SIZES)?,
        vocabulary: text.number("vocab_size", 49_408)?,
        context: text.number("max_position_embeddings", 77)?,
        pooling: Pooling::default(),
    })
}

fn hugging_face_vision(vision: &Section, image_processor: Option<&Value>) -> Result<VisionConfig> {
    let channels = vision.number("num_channels", 3)?;
    if channels != 3 {
        return Err(unsupported(format!("its images have {channels} channels")));
    }
    let image_size = vision.number("image_size", 224)?;
    Ok(VisionConfig {
        sizes: vision.sizes(VISION_SIZES)?,
        image_size,
        patch_size: vision.number("patch_size", 32)?,
        preprocess: match image_processor {
            Some(settings) => preprocessor::of_transformers(settings, image_size)?,
            None => Preprocess::openai(image_size),
        },
    })
}

/// The token at which a checkpoint pools a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooled {
    /// The first token with this id.
    At(usize),
    /// The first token with the highest id in the text.
    Highest,
}

/// Reads the pooling from Hugging Face's `config.json`. An `eos_token_id` of 2 marks files from before
/// transformers 4.31, which transformers still pools at the highest id.
///
/// # Errors
/// `malformed_model`
pub fn hugging_face_pooling(config: &Value) -> Result<Pooled> {
    let text = match config.get("model_type").and_then(Value::as_str) {
        Some(TEXT_MODEL) => Section(vec![config]),
        _ => Section::hugging_face(config, "text"),
    };
    match text.number("eos_token_id", EOS_TOKEN_ID)? {
        2 => Ok(Pooled::Highest),
        id => Ok(Pooled::At(id)),
    }
}

/// Reads the pooling from open_clip's `open_clip_config.json`.
///
/// # Errors
/// `malformed_model`
pub fn open_clip_pooling(config: &Value) -> Result<Pooled> {
    let model = config.get("model_cfg").unwrap_or(config);
    let text = Section(model.get("text_cfg").into_iter().collect());
    match text.get("pool_type").and_then(Value::as_str) {
        Some("eos") => Ok(Pooled::At(text.number("eos_id", OPEN_CLIP_EOS_ID)?)),
        _ => Ok(Pooled::Highest),
    }
}

/// Reads open_clip's `open_clip_config.json`.
///
/// Like open_clip, assumes GELU if the file does not set `quick_gelu`.
///
/// # Errors
/// `unsupported_model` if it is not a plain CLIP; `malformed_model` if it contradicts itself;
/// `limit_exceeded`.
pub fn open_clip(config: &Value, limits: &Limits) -> Result<ModelConfig> {
    let model = config.get("model_cfg").unwrap_or(config);
    let part = |name: &str| Section(model.get(name).into_iter().collect());
    let (text, vision) = (part("text_cfg"), part("vision_cfg"));
    refuse_other_towers(model, &text, &vision)?;
    let activation = match model.get("quick_gelu").and_then(Value::as_bool) {
        Some(true) => Activation::QuickGelu,
        Some(false) | None => Activation::Gelu,
    };
    let projection_dim = Section(vec![model]).number("embed_dim", 512)?;
    let wide = |section: &Section, width: usize| -> Result<usize> {
        Ok((section.float("mlp_ratio", 4.0)? * width as f64) as usize)
    };
    let text_width = text.number("width", 512)?;
    let text_config = TextConfig {
        sizes: LayerSizes {
            layers: text.number("layers", 12)?,
            width: text_width,
            feed_forward: wide(&text, text_width)?,
            heads: text.number("heads", 8)?,
            layer_norm_eps: LAYER_NORM_EPS,
        },
        vocabulary: text.number("vocab_size", 49_408)?,
        context: text.number("context_length", 77)?,
        pooling: Pooling::default(),
    };
    let vision_width = vision.number("width", 768)?;
    let head_width = vision.number("head_width", OPEN_CLIP_HEAD_WIDTH)?.max(1);
    let image_size = vision.number("image_size", 224)?;
    let vision_config = VisionConfig {
        sizes: LayerSizes {
            layers: vision.number("layers", 12)?,
            width: vision_width,
            feed_forward: wide(&vision, vision_width)?,
            heads: vision_width / head_width,
            layer_norm_eps: LAYER_NORM_EPS,
        },
        image_size,
        patch_size: vision.number("patch_size", 16)?,
        preprocess: preprocessor::of_open_clip(config.get("preprocess_cfg"), image_size)?,
    };
    finish(activation, projection_dim, Some(text_config), Some(vision_config), limits)
}

fn finish(
    activation: Activation,
    projection_dim: usize,
    text: Option<TextConfig>,
    vision: Option<VisionConfig>,
    limits: &Limits,
) -> Result<ModelConfig> {
    let config = ModelConfig {
        name: None,
        family: Family::Clip,
        activation,
        projection_dim,
        logit_scale: None,
        logit_bias: None,
        text,
        vision,
    };
    config.validate(limits)?;
    Ok(config)
}

/// Keys of an open_clip configuration that are read, or that do not affect the vectors.
const MODEL_KEYS: [&str; 8] = [
    "embed_dim",
    "quick_gelu",
    "vision_cfg",
    "text_cfg",
    "init_logit_scale",
    "custom_text",
    "cast_dtype",
    "output_dict",
];
const VISION_KEYS: [&str; 16] = [
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "patch_dropout",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "output_tokens",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
    "timm_drop_path",
];
const TEXT_KEYS: [&str; 13] = [
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "pad_id",
    "eos_id",
    "output_tokens",
    "hf_model_pretrained",
    "hf_proj_type",
    "hf_pooler_type",
    "pooler_type",
];

/// Refuses what open_clip can build but is not a plain ViT CLIP.
fn refuse_other_towers(model: &Value, text: &Section, vision: &Section) -> Result<()> {
    let model = Section(vec![model]);
    if let Some(name) = vision.get("timm_model_name").and_then(Value::as_str) {
        family::expect_no_other(name)?;
        return Err(unsupported(format!("its image tower is timm's {name}")));
    }
    if let Some(name) = text.get("hf_model_name").and_then(Value::as_str) {
        return Err(unsupported(format!("its text tower is {name}")));
    }
    if vision.get("layers").is_some_and(Value::is_array) {
        return Err(unsupported("its image tower is a ResNet"));
    }
    for (section, read, plain) in [
        (&model, &MODEL_KEYS[..], &[][..]),
        (vision, &VISION_KEYS, &[("pool_type", "tok"), ("pos_embed_type", "learnable")]),
        (
            text,
            &TEXT_KEYS,
            &[("pool_type", "argmax"), ("pool_type", "eos"), ("proj_type", "linear")],
        ),
    ] {
        let keys = section.0.iter().filter_map(|object| object.as_object()).flatten();
        for (key, value) in keys.filter(|(key, _)| !read.contains(&key.as_str())) {
            let is_plain = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(settings) => settings.is_empty(),
                Value::String(value) => {
                    let name = (key.as_str(), value.as_str());
                    value.is_empty() || name == ("block_type", "default") || plain.contains(&name)
                }
                _ => false,
            };
            if !is_plain {
                return Err(unsupported(format!(
                    "its open_clip_config.json sets {key} to {value}, which a plain CLIP does not"
                )));
            }
        }
    }
    Ok(())
}

fn activation(section: &Section) -> Result<Activation> {
    match section.get("hidden_act").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("quick_gelu") => Ok(Activation::QuickGelu),
        Some("gelu") => Ok(Activation::Gelu),
        Some(other) => Err(unsupported(format!("its activation is {other:?}"))),
    }
}
