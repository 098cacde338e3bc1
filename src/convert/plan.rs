//! Plans the contents of a GGUF file: its header, from the JSON files of a checkpoint, and the source of
//! each of its tensors.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use serde_json::Value as Json;

use crate::convert::logits::Logits;
use crate::convert::metadata::metadata;
use crate::convert::{Companions, FileType};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{TensorInfo, Value, byte_size, header_bytes, padding};
use crate::format::weights::Header;
use crate::format::{SNIFF_BYTES, refusal_of_text};
use crate::limits::{Limit, Limits};
use crate::model::clip::checkpoint::{self, Pooled};
use crate::model::clip::names::Checkpoint;
use crate::model::clip::vocabulary;
use crate::model::config::{Activation, Family, ModelConfig, Pooling, TextConfig, Tower};
use crate::model::family;
use crate::model::inventory::{Change, Expected, Source};
use crate::model::siglip::cleaning::Cleaning;
use crate::model::tensors::tensors;
use crate::model::{clip, siglip};

/// The rows of an embedding may be padded, for speed, to a multiple of at most this.
const PADDED_TO: usize = 128;

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
        logits: Logits,
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
        if config.family == Family::Siglip && activation.is_some_and(|it| it != config.activation) {
            let message = format!(
                "a SigLIP's activation is always {}: leave it out",
                config.activation.name()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        config.activation = activation.unwrap_or(config.activation);
        config.logit_scale = logits.scale;
        config.logit_bias = logits.bias;
        let expected = tensors(&config);
        let source = |want: &Expected| match kind {
            Kind::Clip(checkpoint) => clip::names::source(checkpoint, &want.name),
            Kind::Siglip(checkpoint) => siglip::names::source(checkpoint, &want.name),
        };
        let sources: Vec<Source> = expected.iter().map(source).collect();
        if let Some(absent) = sources.iter().find(|source| !has(&source.name)) {
            return Err(missing(&absent.name, &config, has));
        }
        let vocabulary = match &mut config.text {
            Some(text) => vocabulary(kind, &description, companions, text, limits)?,
            None => Vec::new(),
        };
        let mut infos: Vec<TensorInfo> =
            expected.iter().map(|want| stored(want, file_type)).collect();
        let metadata = metadata(&config, vocabulary, companions, file_type);
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
            Change::Half(_) => shape[0] *= 2,
            Change::Squeeze => shape.insert(0, 1),
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
        // A SigLIP has none, or always.
        _ if config.family == Family::Siglip => None,
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

/// What kind of checkpoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clip(Checkpoint),
    Siglip(siglip::names::Checkpoint),
}

/// The tensor names show what kind of checkpoint it is: many directories contain the descriptions of both
/// kinds of CLIP.
fn kind(has: impl Fn(&str) -> bool) -> Result<Kind> {
    if has("visual.class_embedding") || has("visual.conv1.weight") {
        return Ok(Kind::Clip(Checkpoint::OpenClip));
    }
    if has("visual.trunk.attn_pool.latent") {
        return Ok(Kind::Siglip(siglip::names::Checkpoint::OpenClip));
    }
    if has("vision_model.head.probe") || has("text_model.head.weight") {
        return Ok(Kind::Siglip(siglip::names::Checkpoint::Whole));
    }
    if has("head.probe") || has("head.weight") && has("embeddings.token_embedding.weight") {
        return Ok(Kind::Siglip(siglip::names::Checkpoint::Tower));
    }
    family::expect_clips_tensors(has)?;
    Ok(Kind::Clip(Checkpoint::HuggingFace))
}

/// The file that describes the model.
fn description(kind: Kind, companions: &Companions, limits: &Limits) -> Result<Json> {
    let (name, text) = match kind {
        Kind::Clip(Checkpoint::OpenClip) | Kind::Siglip(siglip::names::Checkpoint::OpenClip) => {
            ("open_clip_config.json", &companions.open_clip_config)
        }
        Kind::Clip(Checkpoint::HuggingFace) | Kind::Siglip(_) => {
            ("config.json", &companions.config)
        }
    };
    companion(name, text.as_deref(), limits)
}

fn config(
    kind: Kind,
    description: &Json,
    companions: &Companions,
    limits: &Limits,
) -> Result<ModelConfig> {
    let processor = || image_processor(companions, limits);
    let mut config = match kind {
        Kind::Clip(Checkpoint::HuggingFace) => {
            checkpoint::hugging_face(description, processor()?.as_ref(), limits)
        }
        Kind::Clip(Checkpoint::OpenClip) => checkpoint::open_clip(description, limits),
        Kind::Siglip(siglip::names::Checkpoint::OpenClip) => {
            siglip::open_clip::read(description, limits)
        }
        Kind::Siglip(_) => {
            siglip::checkpoint::hugging_face(description, processor()?.as_ref(), limits)
        }
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

/// The metadata of the vocabulary; also sets in `text` the token at which texts are pooled.
fn vocabulary(
    kind: Kind,
    description: &Json,
    companions: &Companions,
    text: &mut TextConfig,
    limits: &Limits,
) -> Result<Vec<(&'static str, Value)>> {
    let file = companions.tokenizer.as_deref();
    let checkpoint = match kind {
        Kind::Clip(checkpoint) => checkpoint,
        Kind::Siglip(checkpoint) => {
            let cleaning = match checkpoint {
                siglip::names::Checkpoint::OpenClip => Cleaning::OpenClip,
                _ => Cleaning::Transformers,
            };
            return siglip_vocabulary(file, cleaning, text, limits);
        }
    };
    let file = companion("tokenizer.json or vocab.json", file, limits)?;
    let vocabulary = vocabulary::of_checkpoint(&file, limits)?;
    let (tokens, rows, end) =
        (vocabulary.tokens.len(), text.vocabulary, vocabulary.end()? as usize);
    let pooled = match checkpoint {
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
    Ok(vocabulary::metadata(&vocabulary))
}

fn siglip_vocabulary(
    file: Option<&str>,
    cleaning: Cleaning,
    text: &TextConfig,
    limits: &Limits,
) -> Result<Vec<(&'static str, Value)>> {
    let Some(file) = file else {
        let message = "the checkpoint has no tokenizer.json; put the model's own file beside its weights, or that of the model it was made from, such as google/siglip-base-patch16-224 (spiece.model and tokenizer.model are not read)";
        return Err(Error::new(ErrorKind::MalformedModel, message));
    };
    let vocabulary = siglip::vocabulary::of_checkpoint(file, limits)?;
    let mut metadata = vocabulary.metadata();
    metadata.extend(cleaning.metadata());
    let (tokens, rows) = (vocabulary.size(), text.vocabulary);
    if tokens > rows || rows > tokens.next_multiple_of(PADDED_TO) {
        let message =
            format!("the tokenizer has {tokens} tokens where the configuration says {rows}");
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    vocabulary.check()?;
    Ok(metadata)
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
