//! Reads the `config.json` of a SigLIP into a [`ModelConfig`].

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::model::config::{
    Activation, Family, LayerSizes, ModelConfig, Pooling, TextConfig, VisionConfig,
};
use crate::model::family::unsupported;
use crate::model::preprocessor;
use crate::model::section::Section;

/// The defaults of transformers' `SiglipTextConfig` and `SiglipVisionConfig`.
const SIZES: LayerSizes =
    LayerSizes { layers: 12, width: 768, feed_forward: 3072, heads: 12, layer_norm_eps: 1e-6 };
/// The `model_type` of both towers, and of each alone.
const MODELS: [&str; 3] = ["siglip", "siglip_text_model", "siglip_vision_model"];

/// Reads transformers' `config.json`, and the settings of its image processor, which a text tower alone does not need.
/// Missing values take transformers' defaults.
///
/// # Errors
/// `unsupported_model` if it is not a SigLIP of a fixed image size; `malformed_model` if it contradicts itself, or there are
/// no settings; `limit_exceeded`.
pub fn hugging_face(
    config: &Value,
    image_processor: Option<&Value>,
    limits: &Limits,
) -> Result<ModelConfig> {
    let name = config.get("model_type").and_then(Value::as_str).unwrap_or("no model_type");
    if name == "siglip2" {
        return Err(refused(
            "this is a SigLIP 2 of the NaFlex kind, which reads images of any shape; use one of a fixed size, such as google/siglip2-base-patch16-224",
        ));
    }
    if !MODELS.contains(&name) {
        return Err(refused(format!(
            "its tensors are those of a SigLIP, where its config.json says {name}; put the model's own config.json beside its weights"
        )));
    }
    let (text, vision) = match name {
        "siglip_text_model" => (Some(Section(vec![config])), None),
        "siglip_vision_model" => (None, Some(Section(vec![config]))),
        _ => (
            Some(Section::hugging_face(config, "text")),
            Some(Section::hugging_face(config, "vision")),
        ),
    };
    for section in text.iter().chain(&vision) {
        match section.get("hidden_act").map(|value| value.as_str().unwrap_or_default()) {
            None | Some("gelu_pytorch_tanh") => {}
            Some(other) => return Err(unsupported(format!("its activation is {other:?}"))),
        }
    }
    let text = text.map(|text| text_tower(&text)).transpose()?;
    let vision = vision.map(|vision| vision_tower(&vision, image_processor)).transpose()?;
    let projection = text.as_ref().map(|(_, projection)| *projection);
    let config = ModelConfig {
        name: None,
        family: Family::Siglip,
        activation: Activation::GeluTanh,
        projection_dim: projection
            .or(vision.as_ref().map(|vision| vision.sizes.width))
            .expect("there is one tower at least"),
        logit_scale: None,
        logit_bias: None,
        text: text.map(|(text, _)| text),
        vision,
    };
    if config.vision.as_ref().is_some_and(|vision| vision.sizes.width != config.projection_dim) {
        return Err(unsupported("its towers give vectors of different lengths"));
    }
    config.validate(limits)?;
    Ok(config)
}

/// The text tower, and the length of its vectors.
fn text_tower(text: &Section) -> Result<(TextConfig, usize)> {
    let sizes = text.sizes(SIZES)?;
    let config = TextConfig {
        sizes,
        vocabulary: text.number("vocab_size", 32_000)?,
        context: text.number("max_position_embeddings", 64)?,
        pooling: Pooling::default(),
    };
    Ok((config, text.number("projection_size", sizes.width as u64)?))
}

fn vision_tower(vision: &Section, image_processor: Option<&Value>) -> Result<VisionConfig> {
    let channels = vision.number("num_channels", 3)?;
    if channels != 3 {
        return Err(unsupported(format!("its images have {channels} channels")));
    }
    if vision.get("vision_use_head") == Some(&Value::Bool(false)) {
        return Err(unsupported("its image tower has no attention pooling head"));
    }
    let image_size = vision.number("image_size", 224)?;
    // One is resized bilinearly, another bicubically: no default is right for all.
    let settings = image_processor.ok_or_else(|| {
        let message = "the checkpoint has neither preprocessor_config.json nor processor_config.json, without which its images cannot be prepared as in training; put the model's own file beside its weights";
        Error::new(ErrorKind::MalformedModel, message)
    })?;
    Ok(VisionConfig {
        sizes: vision.sizes(SIZES)?,
        image_size,
        patch_size: vision.number("patch_size", 16)?,
        preprocess: preprocessor::of_siglip(settings, image_size)?,
    })
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsupportedModel, message.into())
}
