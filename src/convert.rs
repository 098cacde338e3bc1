//! A safetensors checkpoint -> GGUF in clip.cpp's layout.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;

use crate::config::{Activation, ClipConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::format::checkpoint;
use crate::format::gguf::{TensorInfo, Value, byte_size, header_bytes, padding};
use crate::format::names::{Change, Checkpoint, Expected, source, tensors};
use crate::tokenizer::rebuild_merges;

/// How the 2-D weights are stored. 1-D tensors stay f32 and the patch embedding is f16, as in
/// clip.cpp's own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    pub name: &'static str,
    pub dtype: GgmlDType,
    /// `general.file_type`, from clip.cpp's converter.
    code: u32,
}

/// Every type that can be written.
pub const FILE_TYPES: [FileType; 7] = [
    FileType { name: "f32", dtype: GgmlDType::F32, code: 0 },
    FileType { name: "f16", dtype: GgmlDType::F16, code: 1 },
    FileType { name: "q4_0", dtype: GgmlDType::Q4_0, code: 2 },
    FileType { name: "q4_1", dtype: GgmlDType::Q4_1, code: 3 },
    FileType { name: "q5_0", dtype: GgmlDType::Q5_0, code: 6 },
    FileType { name: "q5_1", dtype: GgmlDType::Q5_1, code: 7 },
    FileType { name: "q8_0", dtype: GgmlDType::Q8_0, code: 8 },
];

/// Converts `from`, a directory as Hugging Face or open_clip lays it out or a `.safetensors` file in
/// one, to the GGUF file `to`, which appears only when it is complete. `activation` overrides what the
/// checkpoint's configuration says. `progress` is told bytes written and bytes in all.
///
/// # Errors
/// `io`; `not_a_model`, `unsupported_model`, `malformed_model` or `missing_tensor`, naming what.
pub fn convert(
    from: &Path,
    to: &Path,
    file_type: FileType,
    activation: Option<Activation>,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    let files = Files::find(from)?;
    let weights = files.open()?;
    let mut config = files.config()?;
    config.activation = activation.unwrap_or(config.activation);
    let plan = tensors(&config);
    let mut infos: Vec<TensorInfo> = plan.iter().map(|want| stored(want, file_type)).collect();
    for want in &plan {
        check_source(&weights, files.kind, want)?;
    }
    let header = header_bytes(&metadata(&config, &files, file_type)?, &mut infos);
    let total = infos.last().map_or(0, |last| last.offset + last.size);

    let partial = to.with_added_extension("part");
    let mut write = || -> Result<()> {
        let mut out = BufWriter::new(File::create(&partial)?);
        out.write_all(&header)?;
        for (want, info) in plan.iter().zip(&infos) {
            let tensor = load(&weights, files.kind, want)?;
            let stored = QTensor::quantize(&tensor, info.dtype)?;
            out.write_all(&stored.data()?)?;
            out.write_all(&vec![0; padding(info.size)])?;
            progress(info.offset + info.size, total);
        }
        out.into_inner().map_err(|error| Error::from(error.into_error()))?.sync_all()?;
        Ok(fs::rename(&partial, to)?)
    };
    write().inspect_err(|_| drop(fs::remove_file(&partial))).map_err(|e| e.context(to.display()))
}

/// The files of one checkpoint.
struct Files {
    directory: PathBuf,
    weights: Vec<PathBuf>,
    kind: Checkpoint,
}

impl Files {
    fn find(from: &Path) -> Result<Self> {
        if !from.exists() {
            return Err(Error::new(ErrorKind::Io, format!("{}: no such file", from.display())));
        }
        if from.is_file() {
            let directory = from.parent().unwrap_or(Path::new("")).to_path_buf();
            return Self::of(directory, vec![from.to_path_buf()]);
        }
        let hugging_face = from.join("model.safetensors");
        let index = from.join("model.safetensors.index.json");
        let open_clip = from.join("open_clip_model.safetensors");
        let weights = if hugging_face.is_file() {
            vec![hugging_face]
        } else if index.is_file() {
            shards(from, &read_json(&index)?)?
        } else if open_clip.is_file() {
            vec![open_clip]
        } else {
            let message = format!(
                "{}: holds neither model.safetensors nor open_clip_model.safetensors",
                from.display()
            );
            return Err(Error::new(ErrorKind::NotAModel, message));
        };
        Self::of(from.to_path_buf(), weights)
    }

    /// The tensors' names tell whose checkpoint it is.
    fn of(directory: PathBuf, weights: Vec<PathBuf>) -> Result<Self> {
        let mut files = Self { directory, weights, kind: Checkpoint::HuggingFace };
        let tensors = files.open()?;
        let has = |name: &str| tensors.get(name).is_ok();
        if has("visual.class_embedding") || has("visual.conv1.weight") {
            files.kind = Checkpoint::OpenClip;
        } else if has("visual.trunk.stem.0.conv.weight") || has("logit_bias") {
            let message =
                "this is a MobileCLIP or SigLIP checkpoint; only plain ViT CLIPs are converted";
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
        Ok(files)
    }

    fn open(&self) -> Result<MmapedSafetensors> {
        for path in &self.weights {
            fs::metadata(path).map_err(|error| Error::from(error).context(path.display()))?;
        }
        // SAFETY: the mapped files are only read; a program that cuts them short meanwhile would end
        // this one, as with any mapped file.
        unsafe { MmapedSafetensors::multi(&self.weights) }.map_err(|source| {
            let message = format!(
                "{}: not a whole safetensors file ({source}); download it again",
                self.weights[0].display()
            );
            Error::new(ErrorKind::MalformedModel, message)
        })
    }

    fn config(&self) -> Result<ClipConfig> {
        let mut config = match self.kind {
            Checkpoint::HuggingFace => {
                let preprocessor = self.directory.join("preprocessor_config.json");
                let preprocessor =
                    preprocessor.is_file().then(|| read_json(&preprocessor)).transpose()?;
                let config = read_json(&self.directory.join("config.json"))?;
                checkpoint::hugging_face(&config, preprocessor.as_ref())
            }
            Checkpoint::OpenClip => {
                checkpoint::open_clip(&read_json(&self.directory.join("open_clip_config.json"))?)
            }
        }?;
        let directory = self.directory.canonicalize()?;
        config.name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(config)
    }

    /// The vocabulary, and its merges where they cannot be told from it.
    fn tokenizer(&self) -> Result<(Vec<String>, Option<Vec<String>>)> {
        let whole = self.directory.join("tokenizer.json");
        let plain = self.directory.join("vocab.json");
        if !whole.is_file() && !plain.is_file() {
            let message = format!(
                "{}: has no tokenizer.json or vocab.json; put the model's own beside its weights",
                self.directory.display()
            );
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        let file = read_json(if whole.is_file() { &whole } else { &plain })?;
        let tokens = checkpoint::vocabulary(&file)?;
        let rebuilt = rebuild_merges(&tokens);
        let rebuilt = rebuilt.iter().map(|(first, second)| format!("{first} {second}"));
        let merges = checkpoint::merges(&file).filter(|merges| !rebuilt.eq(merges.iter().cloned()));
        Ok((tokens, merges))
    }
}

fn shards(directory: &Path, index: &Json) -> Result<Vec<PathBuf>> {
    let map = index.get("weight_map").and_then(Json::as_object);
    let names: BTreeSet<&str> =
        map.into_iter().flatten().filter_map(|(_, file)| file.as_str()).collect();
    if names.is_empty() || names.iter().any(|name| name.contains(['/', '\\'])) {
        let message = "model.safetensors.index.json names no files beside it";
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

fn read_json(path: &Path) -> Result<Json> {
    let text = fs::read_to_string(path).map_err(|e| Error::from(e).context(path.display()))?;
    serde_json::from_str(&text).map_err(|source| {
        let message = format!("{}: {source}", path.display());
        Error::new(ErrorKind::MalformedModel, message).with_source(source)
    })
}

/// How a tensor is stored. A row that does not divide into blocks of 32 stays f16.
fn stored(want: &Expected, file_type: FileType) -> TensorInfo {
    let dtype = match want.shape.len() {
        1 => GgmlDType::F32,
        2 if byte_size(file_type.dtype, &want.shape).is_some() => file_type.dtype,
        _ => GgmlDType::F16,
    };
    let size = byte_size(dtype, &want.shape).expect("f16 stores any shape");
    TensorInfo { name: want.name.clone(), dtype, shape: want.shape.clone(), offset: 0, size }
}

fn check_source(weights: &MmapedSafetensors, kind: Checkpoint, want: &Expected) -> Result<()> {
    let from = source(kind, &want.name);
    let view = weights.get(&from.name).map_err(|_| {
        let message = format!("tensor {} is missing from the checkpoint", from.name);
        Error::new(ErrorKind::MissingTensor, message)
    })?;
    let mut shape = want.shape.clone();
    match from.change {
        Change::None => {}
        Change::Transpose => shape.reverse(),
        Change::Third(_) => shape[0] *= 3,
    }
    if view.shape() != shape {
        let message = format!(
            "tensor {} has shape {:?} where the configuration calls for {shape:?}",
            from.name,
            view.shape()
        );
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    Ok(())
}

/// A canonical tensor in f32.
fn load(weights: &MmapedSafetensors, kind: Checkpoint, want: &Expected) -> Result<Tensor> {
    let from = source(kind, &want.name);
    let tensor = weights.load(&from.name, &Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(match from.change {
        Change::None => tensor,
        Change::Transpose => tensor.t()?.contiguous()?,
        Change::Third(third) => {
            tensor.narrow(0, third * want.shape[0], want.shape[0])?.force_contiguous()?
        }
    })
}

/// The keys of clip.cpp's converter.
fn metadata(
    config: &ClipConfig,
    files: &Files,
    file_type: FileType,
) -> Result<Vec<(String, Value)>> {
    let mut list: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value| list.push((key.into(), value));
    let number = |n: usize| Value::U32(n as u32);
    let channels = |values: [f32; 3]| Value::Array(values.map(Value::F32).to_vec());
    put("general.architecture", Value::String("clip".into()));
    put("general.name", Value::String(config.name.clone().unwrap_or_default()));
    put("general.file_type", Value::U32(file_type.code));
    put("clip.has_text_encoder", Value::Bool(config.text.is_some()));
    put("clip.has_vision_encoder", Value::Bool(config.vision.is_some()));
    put("clip.use_gelu", Value::Bool(config.activation == Activation::Gelu));
    let text = config.text.as_ref().map(|text| ("text", text.sizes()));
    let vision = config.vision.as_ref().map(|vision| ("vision", vision.sizes()));
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
        put("clip.vision.image_size", number(vision.stock.image_size));
        put("clip.vision.patch_size", number(vision.stock.patch_size));
        put("clip.vision.image_mean", channels(vision.image_mean));
        put("clip.vision.image_std", channels(vision.image_std));
    }
    if let Some(text) = &config.text {
        put("clip.text.context_length", number(text.stock.max_position_embeddings));
        let (tokens, merges) = files.tokenizer()?;
        if tokens.len() != text.stock.vocab_size {
            let message = format!(
                "the tokenizer has {} tokens where the configuration says {}",
                tokens.len(),
                text.stock.vocab_size
            );
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        let strings =
            |list: Vec<String>| Value::Array(list.into_iter().map(Value::String).collect());
        put("tokenizer.ggml.tokens", strings(tokens));
        if let Some(merges) = merges {
            put("tokenizer.ggml.merges", strings(merges));
        }
    }
    Ok(list)
}
