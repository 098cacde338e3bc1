//! Reads the `open_clip_config.json` of a SigLIP into a [`ModelConfig`].

use serde_json::Value;

use crate::error::Result;
use crate::limits::Limits;
use crate::model::config::{
    Activation, Family, LayerSizes, ModelConfig, Pooling, TextConfig, VisionConfig,
};
use crate::model::family::unsupported;
use crate::model::preprocessor;
use crate::model::section::Section;

/// The `eps` of every norm.
const LAYER_NORM_EPS: f64 = 1e-6;
/// The image towers of timm's `vision_transformer.py`, by the second part of their names.
const TOWERS: [(&str, LayerSizes); 4] = [
    ("base", sizes(768, 12, 12, 3072)),
    ("large", sizes(1024, 24, 16, 4096)),
    ("so400m", sizes(1152, 27, 16, 4304)),
    ("giantopt", sizes(1536, 40, 16, 6144)),
];

const fn sizes(width: usize, layers: usize, heads: usize, feed_forward: usize) -> LayerSizes {
    LayerSizes { layers, width, feed_forward, heads, layer_norm_eps: LAYER_NORM_EPS }
}

/// Reads open_clip's configuration of a SigLIP, whose image tower is timm's.
///
/// GELU is that by the hyperbolic tangent in both towers, with which these models were trained, and which transformers
/// computes too; open_clip computes some towers with the other, whose vectors are the same to 0.99999.
///
/// # Errors
/// `unsupported_model` for another tower or an unknown setting; `malformed_model`; `limit_exceeded`.
pub fn read(config: &Value, limits: &Limits) -> Result<ModelConfig> {
    let model = config.get("model_cfg").unwrap_or(config);
    let part = |name: &str| Section(model.get(name).into_iter().collect());
    let (text, vision) = (part("text_cfg"), part("vision_cfg"));
    refuse_other_settings(model)?;
    let embed_dim = Section(vec![model]).number("embed_dim", 768)?;
    let width = text.number("width", 512)?;
    let text_config = TextConfig {
        sizes: LayerSizes {
            layers: text.number("layers", 12)?,
            width,
            feed_forward: (text.float("mlp_ratio", 4.0)? * width as f64) as usize,
            heads: text.number("heads", 8)?,
            layer_norm_eps: LAYER_NORM_EPS,
        },
        vocabulary: text.number("vocab_size", 49_408)?,
        context: text.number("context_length", 77)?,
        pooling: Pooling::default(),
    };
    let name = vision.get("timm_model_name").and_then(Value::as_str).unwrap_or_default();
    let (sizes, patch_size) = tower(name)?;
    let image_size = vision.number("image_size", 224)?;
    if sizes.width != embed_dim {
        return Err(unsupported(format!(
            "its image tower {name} has no projection to {embed_dim}"
        )));
    }
    let config = ModelConfig {
        name: None,
        family: Family::Siglip,
        activation: Activation::GeluTanh,
        projection_dim: embed_dim,
        logit_scale: None,
        logit_bias: None,
        text: Some(text_config),
        vision: Some(VisionConfig {
            sizes,
            image_size,
            patch_size,
            preprocess: preprocessor::of_open_clip(config.get("preprocess_cfg"), image_size)?,
        }),
    };
    config.validate(limits)?;
    Ok(config)
}

/// The sizes of timm's tower, and of its patches: `vit_base_patch16_siglip_224`.
fn tower(name: &str) -> Result<(LayerSizes, usize)> {
    let parts: Vec<&str> = name.split('_').collect();
    let known = match parts[..] {
        ["vit", size, patch, "siglip", _] => {
            let sizes = TOWERS.into_iter().find(|(name, _)| *name == size);
            let patch = patch.strip_prefix("patch").and_then(|patch| patch.parse().ok());
            sizes.map(|(_, sizes)| sizes).zip(patch)
        }
        _ => None,
    };
    known.ok_or_else(|| unsupported(format!("its image tower is timm's {name}")))
}

/// Refuses settings with which the towers or the tokens are others.
fn refuse_other_settings(model: &Value) -> Result<()> {
    let read = |section: &str, key: &str| -> bool {
        match section {
            "" => matches!(
                key,
                "embed_dim"
                    | "vision_cfg"
                    | "text_cfg"
                    | "custom_text"
                    | "init_logit_bias"
                    | "init_logit_scale"
            ),
            "vision_cfg" => {
                matches!(key, "image_size" | "timm_model_name" | "timm_model_pretrained")
            }
            _ => matches!(
                key,
                "context_length"
                    | "vocab_size"
                    | "hf_tokenizer_name"
                    | "width"
                    | "heads"
                    | "layers"
                    | "mlp_ratio"
                    | "act_kwargs"
            ),
        }
    };
    let usual = |key: &str, value: &Value| -> bool {
        match key {
            "timm_pool" => value == "map",
            "timm_proj" => value == "none",
            "no_causal_mask" | "proj_bias" => value == true,
            "pool_type" => value == "last",
            "norm_kwargs" => {
                let eps = value.get("eps").and_then(Value::as_f64);
                eps == Some(LAYER_NORM_EPS) && value.as_object().is_some_and(|it| it.len() == 1)
            }
            "tokenizer_kwargs" => *value == serde_json::json!({"clean": "canonicalize"}),
            _ => value.is_null() || *value == false,
        }
    };
    for section in ["", "vision_cfg", "text_cfg"] {
        let table = if section.is_empty() { Some(model) } else { model.get(section) };
        let table = table.and_then(Value::as_object);
        for (key, value) in table.into_iter().flatten() {
            if !read(section, key) && !usual(key, value) {
                return Err(unsupported(format!(
                    "its open_clip_config.json sets {key} to {value}, which a SigLIP does not"
                )));
            }
        }
        let needed: &[&str] = match section {
            "vision_cfg" => &["timm_pool"],
            "text_cfg" => {
                &["no_causal_mask", "proj_bias", "pool_type", "norm_kwargs", "tokenizer_kwargs"]
            }
            _ => &[],
        };
        let missing =
            needed.iter().find(|key| table.is_none_or(|table| !table.contains_key(**key)));
        if let Some(key) = missing {
            return Err(unsupported(format!(
                "its open_clip_config.json does not set {key}, which a SigLIP does"
            )));
        }
    }
    Ok(())
}
