//! Plans the contents of a GGUF file: its header, from the JSON files of a checkpoint, and the source of
//! each of its tensors.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use serde_json::Value as Json;

use crate::convert::{Companions, FileType};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{TensorInfo, Value, byte_size, header_bytes, padding};
use crate::format::weights::Header;
use crate::format::{SNIFF_BYTES, refusal_of_text};
use crate::limits::{Limit, Limits};
use crate::model::clip::checkpoint::{self, Pooled};
use crate::model::clip::config::{LOGIT_SCALE, POOL_TYPE};
use crate::model::clip::names::{Change, Checkpoint, Source, source, tensors};
use crate::model::clip::tokenizer::Vocabulary;
use crate::model::clip::vocabulary;
use crate::model::config::{Activation, ModelConfig, Pooling, TextConfig, Tower};
use crate::model::family;
use crate::model::inventory::Expected;
use crate::model::preprocessor;

/// The version of ggml's quantised types.
const QUANTIZATION_VERSION: u32 = 2;
/// The rows of an embedding may be padded, for speed, to a multiple of at most this.
const PADDED_TO: usize = 128;
/// Longer text is not the name of a licence.
const MOST_LICENCE_BYTES: usize = 100;

/// A GGUF file that is still to be filled.
pub struct Plan {
    /// The bytes before its first tensor.
    pub header: Vec<u8>,
    /// Its tensors, in their order in the file.
    pub targets: Vec<Target>,
}

/// A tensor of the GGUF.
pub struct Target {
    /// Its name, type, shape and position in the GGUF.
    pub info: TensorInfo,
    /// The source tensor.
    pub source: Source,
    /// Whether the file that contains it has been opened.
    pub found: bool,
}

impl Plan {
    /// `header` is that of the checkpoint's first file, which is the only file if there is no index.
    ///
    /// # Errors
    /// `unsupported_model`, `malformed_model`, `missing_tensor` or `limit_exceeded`, with the reason.
    pub fn new(
        companions: &Companions,
        header: &Header,
        file_type: FileType,
        activation: Option<Activation>,
        logit_scale: Option<f32>,
        limits: &Limits,
    ) -> Result<Self> {
        let index = companions.index.as_deref();
        let index = index.map(|text| json(header.index_name(), text, limits)).transpose()?;
        let has = |name: &str| match &index {
            Some(index) => index.get("weight_map").is_some_and(|map| map.get(name).is_some()),
            None => header.get(name).is_some(),
        };
        let kind = kind(has)?;
        let description = description(kind, companions, limits)?;
        let mut config = config(kind, &description, companions, limits)?;
        config.activation = activation.unwrap_or(config.activation);
        config.logit_scale = logit_scale;
        let expected = tensors(&config);
        let sources: Vec<Source> = expected.iter().map(|want| source(kind, &want.name)).collect();
        if let Some(absent) = sources.iter().find(|source| !has(&source.name)) {
            return Err(missing(&absent.name, &config, has));
        }
        let vocabulary = match &mut config.text {
            Some(text) => Some(vocabulary(kind, &description, companions, text, limits)?),
            None => None,
        };
        let mut infos: Vec<TensorInfo> =
            expected.iter().map(|want| stored(want, file_type)).collect();
        let metadata = metadata(&config, vocabulary.as_ref(), companions, file_type);
        let header = header_bytes(&metadata, &mut infos);
        let pairs = infos.into_iter().zip(sources);
        let targets = pairs.map(|(info, source)| Target { info, source, found: false }).collect();
        Ok(Self { header, targets })
    }

    /// Size of the whole GGUF in bytes.
    pub fn file_size(&self) -> u64 {
        self.targets.last().map_or(0, Target::end)
    }
}

impl Target {
    /// Number of values in the tensor.
    pub fn elements(&self) -> usize {
        self.info.shape.iter().product()
    }

    /// The shape that its source must have.
    pub fn source_shape(&self) -> Vec<usize> {
        let mut shape = self.info.shape.clone();
        match self.source.change {
            Change::None => {}
            Change::Transpose => shape.reverse(),
            Change::Third(_) => shape[0] *= 3,
        }
        shape
    }

    /// Its position in the GGUF, in bytes, without the padding after it.
    pub fn stored(&self) -> Range<u64> {
        self.info.offset..self.info.offset + self.info.size
    }

    /// The end of the padding after it, in bytes from the start of the GGUF.
    pub fn end(&self) -> u64 {
        self.stored().end + padding(self.info.size) as u64
    }
}

/// The error for a checkpoint that lacks a tensor. If it is a single tower, it may have been saved without
/// its projection.
fn missing(name: &str, config: &ModelConfig, has: impl Fn(&str) -> bool) -> Error {
    let projection = match config.towers()[..] {
        [Tower::Text] => Some(("text_projection.weight", "CLIPTextModel")),
        [Tower::Vision] => Some(("visual_projection.weight", "CLIPVisionModel")),
        _ => None,
    };
    let message = match projection.filter(|(name, _)| !has(name)) {
        Some((name, class)) => format!(
            "this is a {class} without {name}, so its vectors cannot be compared; use a {class}WithProjection"
        ),
        None => format!("tensor {name} is missing from the checkpoint"),
    };
    Error::new(ErrorKind::MissingTensor, message)
}

/// The tensor names show what kind of checkpoint it is: many directories contain the descriptions of both
/// kinds.
fn kind(has: impl Fn(&str) -> bool) -> Result<Checkpoint> {
    if has("visual.class_embedding") || has("visual.conv1.weight") {
        return Ok(Checkpoint::OpenClip);
    }
    family::expect_clips_tensors(has)?;
    Ok(Checkpoint::HuggingFace)
}

/// The file that describes the model.
fn description(kind: Checkpoint, companions: &Companions, limits: &Limits) -> Result<Json> {
    let (name, text) = match kind {
        Checkpoint::HuggingFace => ("config.json", &companions.config),
        Checkpoint::OpenClip => ("open_clip_config.json", &companions.open_clip_config),
    };
    companion(name, text.as_deref(), limits)
}

fn config(
    kind: Checkpoint,
    description: &Json,
    companions: &Companions,
    limits: &Limits,
) -> Result<ModelConfig> {
    let mut config = match kind {
        Checkpoint::HuggingFace => {
            let image_processor = image_processor(companions, limits)?;
            checkpoint::hugging_face(description, image_processor.as_ref(), limits)
        }
        Checkpoint::OpenClip => checkpoint::open_clip(description, limits),
    }?;
    config.name = Some(companions.name.clone());
    Ok(config)
}

/// The settings of the image processor. Like transformers, reads `processor_config.json` first, which is
/// the only file that version 5 writes.
fn image_processor(companions: &Companions, limits: &Limits) -> Result<Option<Json>> {
    let read = |name: &str, text: &Option<String>| {
        text.as_deref().map(|text| json(name, text, limits)).transpose()
    };
    let processor = read("processor_config.json", &companions.processor_config)?;
    let nested = processor.as_ref().and_then(|processor| processor.get("image_processor"));
    match nested.filter(|nested| !nested.is_null()) {
        Some(nested) => Ok(Some(nested.clone())),
        None => read("preprocessor_config.json", &companions.preprocessor_config),
    }
}

fn companion(name: &str, text: Option<&str>, limits: &Limits) -> Result<Json> {
    let Some(text) = text else {
        let message =
            format!("the checkpoint has no {name}; put the model's own file beside its weights");
        return Err(Error::new(ErrorKind::MalformedModel, message));
    };
    json(name, text, limits)
}

/// Parses the file `name`.
///
/// # Errors
/// `malformed_model` or `limit_exceeded`, with the file's name.
pub fn json(name: &str, text: &str, limits: &Limits) -> Result<Json> {
    limits.check(Limit::JsonBytes, text.len() as u64).map_err(|error| error.context(name))?;
    let start = &text.as_bytes()[..text.len().min(SNIFF_BYTES)];
    if let Some(error) = refusal_of_text(start) {
        return Err(error.context(name));
    }
    serde_json::from_str(text).map_err(|source| {
        Error::new(ErrorKind::MalformedModel, format!("{name}: {source}")).with_source(source)
    })
}

/// The vocabulary; also sets in `text` the token at which texts are pooled.
fn vocabulary(
    kind: Checkpoint,
    description: &Json,
    companions: &Companions,
    text: &mut TextConfig,
    limits: &Limits,
) -> Result<Vocabulary> {
    let file = companions.tokenizer.as_deref();
    let file = companion("tokenizer.json or vocab.json", file, limits)?;
    let vocabulary = vocabulary::of_checkpoint(&file, limits)?;
    let (tokens, rows, end) =
        (vocabulary.tokens.len(), text.vocabulary, vocabulary.end()? as usize);
    let pooled = match kind {
        Checkpoint::HuggingFace => checkpoint::hugging_face_pooling(description)?,
        Checkpoint::OpenClip => checkpoint::open_clip_pooling(description)?,
    };
    if let Pooled::At(id) = pooled
        && id != end
    {
        let message = format!(
            "texts are pooled at token {id}, the configuration's eos_token_id or its default, where the tokenizer's end token is {end}; use the tokenizer of this model"
        );
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    // If nothing else shows that tokenizer and weights belong to the same model, their sizes must match.
    let most =
        if matches!(pooled, Pooled::At(_)) { rows } else { tokens.next_multiple_of(PADDED_TO) };
    if tokens > rows || rows > most {
        let message =
            format!("the tokenizer has {tokens} tokens where the configuration says {rows}");
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    if tokens < rows && file.get("model").is_none() {
        let message = format!(
            "vocab.json has {tokens} of the {rows} tokens; put the model's tokenizer.json beside its weights for the added tokens"
        );
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    text.pooling = match pooled {
        Pooled::Highest if end + 1 < tokens => Pooling::Argmax,
        _ => Pooling::Eos,
    };
    // If no tokenizer can be built from it, refuse it before the weights are read.
    vocabulary.check()?;
    Ok(vocabulary)
}

/// The stored form of a tensor. A matrix whose rows do not divide into blocks of 32 stays f16.
fn stored(want: &Expected, file_type: FileType) -> TensorInfo {
    let dtype = match want.shape.len() {
        1 => GgmlDType::F32,
        2 if byte_size(file_type.dtype, &want.shape).is_some() => file_type.dtype,
        _ => GgmlDType::F16,
    };
    let size = byte_size(dtype, &want.shape).expect("f16 stores any shape");
    TensorInfo { name: want.name.clone(), dtype, shape: want.shape.clone(), offset: 0, size }
}

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
fn metadata(
    config: &ModelConfig,
    vocabulary: Option<&Vocabulary>,
    companions: &Companions,
    file_type: FileType,
) -> Vec<(String, Value)> {
    let mut list: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value| list.push((key.into(), value));
    let number = |n: usize| Value::U32(n as u32);
    let channels = |values: [f32; 3]| Value::Array(values.map(Value::F32).to_vec());
    put("general.architecture", Value::String("clip".into()));
    put("general.name", Value::String(config.name.clone().unwrap_or_default()));
    // clip.cpp's own tools do not start without these.
    let towers = match (&config.text, &config.vision) {
        (Some(_), Some(_)) => "two-tower",
        (Some(_), None) => "text-only",
        _ => "vision-only",
    };
    put("general.description", Value::String(format!("{towers} CLIP model")));
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
    put("clip.use_gelu", Value::Bool(config.activation == Activation::Gelu));
    if let Some(scale) = config.logit_scale {
        put(LOGIT_SCALE, Value::F32(scale));
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
    if let Some(vocabulary) = vocabulary {
        vocabulary::metadata(vocabulary).into_iter().for_each(|(key, value)| put(key, value));
    }
    list
}
