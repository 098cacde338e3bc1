//! The metadata of a GGUF, from a checkpoint's JSON files and model card.

use serde_json::Value as Json;

use crate::convert::{Companions, FileType};
use crate::format::gguf::Value;
use crate::model::config::{Activation, Family, ModelConfig, Pooling};
use crate::model::metadata::{LOGIT_BIAS, LOGIT_SCALE, POOL_TYPE};
use crate::model::preprocessor;

/// The version of ggml's quantised types.
const QUANTIZATION_VERSION: u32 = 2;
/// Longer text is not the name of a licence.
const MOST_LICENCE_BYTES: usize = 100;

/// The licence stated in a model card's head, which is YAML between two lines of dashes.
fn licence(card: &str) -> Option<&str> {
    let mut lines = card.lines().map(str::trim_end);
    lines.next().filter(|line| *line == "---")?;
    let head = lines.take_while(|line| *line != "---");
    head.filter_map(|line| line.strip_prefix("license:"))
        .map(|name| name.trim().trim_matches(['"', '\'']))
        .find(|name| !name.is_empty() && name.len() <= MOST_LICENCE_BYTES)
}

/// The Hub repository from which transformers loaded the checkpoint; `None` if it was a local folder.
fn repository(companions: &Companions) -> Option<String> {
    let config: Json = serde_json::from_str(companions.config.as_deref()?).ok()?;
    let name = config.get("_name_or_path")?.as_str()?;
    let is_part = |part: &str| {
        let mut characters = part.chars();
        characters.next().is_some_and(char::is_alphanumeric)
            && characters.all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let (owner, model) = name.split_once('/')?;
    (is_part(owner) && is_part(model)).then(|| name.into())
}

/// The metadata under the keys of clip.cpp's converter.
pub fn metadata(
    config: &ModelConfig,
    vocabulary: Vec<(&'static str, Value)>,
    companions: &Companions,
    file_type: FileType,
) -> Vec<(String, Value)> {
    let mut list: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value| list.push((key.into(), value));
    let number = |n: usize| Value::U32(n as u32);
    let channels = |values: [f32; 3]| Value::Array(values.map(Value::F32).to_vec());
    put("general.architecture", Value::String(config.family.name().into()));
    put("general.name", Value::String(config.name.clone().unwrap_or_default()));
    // clip.cpp's own tools do not start without these.
    let towers = match (&config.text, &config.vision) {
        (Some(_), Some(_)) => "two-tower",
        (Some(_), None) => "text-only",
        _ => "vision-only",
    };
    let kind = match config.family {
        Family::Clip => "CLIP",
        Family::Siglip => "SigLIP",
    };
    put("general.description", Value::String(format!("{towers} {kind} model")));
    put("general.file_type", Value::U32(file_type.code));
    put("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
    if let Some(licence) = companions.model_card.as_deref().and_then(licence) {
        put("general.license", Value::String(licence.into()));
    }
    if let Some(repository) = repository(companions) {
        put("general.source.huggingface.repository", Value::String(repository));
    }
    put("clip.has_text_encoder", Value::Bool(config.text.is_some()));
    put("clip.has_vision_encoder", Value::Bool(config.vision.is_some()));
    if config.family == Family::Clip {
        put("clip.use_gelu", Value::Bool(config.activation == Activation::Gelu));
    }
    if let Some(scale) = config.logit_scale {
        put(LOGIT_SCALE, Value::F32(scale));
    }
    if let Some(bias) = config.logit_bias {
        put(LOGIT_BIAS, Value::F32(bias));
    }
    let text = config.text.as_ref().map(|text| ("text", text.sizes));
    let vision = config.vision.as_ref().map(|vision| ("vision", vision.sizes));
    for (tower, sizes) in text.into_iter().chain(vision) {
        let mut put = |key: &str, value| put(&format!("clip.{tower}.{key}"), value);
        put("embedding_length", number(sizes.width));
        put("feed_forward_length", number(sizes.feed_forward));
        put("projection_dim", number(config.projection_dim));
        put("attention.head_count", number(sizes.heads));
        put("attention.layer_norm_epsilon", Value::F32(sizes.layer_norm_eps as f32));
        put("block_count", number(sizes.layers));
    }
    if let Some(vision) = &config.vision {
        put("clip.vision.image_size", number(vision.image_size));
        put("clip.vision.patch_size", number(vision.patch_size));
        put("clip.vision.image_mean", channels(vision.preprocess.mean));
        put("clip.vision.image_std", channels(vision.preprocess.std));
        preprocessor::metadata(&vision.preprocess)
            .into_iter()
            .for_each(|(key, value)| put(key, value));
    }
    if let Some(text) = &config.text {
        put("clip.text.context_length", number(text.context));
        if text.pooling != Pooling::Eos {
            put(POOL_TYPE, Value::String(text.pooling.name().into()));
        }
    }
    vocabulary.into_iter().for_each(|(key, value)| put(key, value));
    list
}
