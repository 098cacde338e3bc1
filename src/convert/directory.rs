//! A checkpoint on disk, to a file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::config::Activation;
use crate::convert::plan::{INDEX, json};
use crate::convert::{Companions, Converter, FileType};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};

const CHUNK_BYTES: usize = 1 << 20;

/// Converts `from`, a directory as Hugging Face or open_clip lays it out or a `.safetensors` file in
/// one, to the GGUF file `to`, which appears only when it is complete. `activation` overrides what the
/// checkpoint's configuration says. `progress` is told bytes written and bytes in all.
///
/// ```no_run
/// use clip_wasm::Limits;
/// use clip_wasm::convert::{FileType, convert};
///
/// let (from, to) = ("clip-vit-base-patch32".as_ref(), "clip-vit-b-32.q8_0.gguf".as_ref());
/// let limits = Limits::default();
/// let tell = |done, all| eprintln!("{done} of {all} bytes");
/// convert(from, to, FileType::named("q8_0")?, None, &limits, tell)?;
/// # Ok::<(), clip_wasm::Error>(())
/// ```
///
/// # Errors
/// `io`, and those of [`Converter`].
pub fn convert(
    from: &Path,
    to: &Path,
    file_type: FileType,
    activation: Option<Activation>,
    limits: &Limits,
    progress: impl FnMut(u64, u64),
) -> Result<()> {
    let files = Files::find(from, limits)?;
    let converter = Converter::new(files.companions(limits)?, file_type, activation);
    let converter = converter.with_limits(*limits);
    let partial = to.with_added_extension("part");
    stream(converter, &files.weights, &partial, progress)
        .and_then(|()| fs::rename(&partial, to).map_err(|error| of(to, error.into())))
        .inspect_err(|_| drop(fs::remove_file(&partial)))
}

fn stream(
    mut converter: Converter,
    weights: &[PathBuf],
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    let mut out = File::create(to).map_err(|error| of(to, error.into()))?;
    let mut write = |offset, bytes: &[u8]| {
        let place = out.seek(SeekFrom::Start(offset));
        place.and_then(|_| out.write_all(bytes)).map_err(|error| of(to, error.into()))
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    for path in weights {
        let mut file = File::open(path).map_err(|error| of(path, error.into()))?;
        loop {
            let read = file.read(&mut chunk).map_err(|error| of(path, error.into()))?;
            if read == 0 {
                break;
            }
            converter.push(&chunk[..read], &mut write)?;
            progress(converter.written(), converter.file_size().unwrap_or(0));
        }
        converter.end_file().map_err(|error| of(path, error))?;
    }
    converter.finish()?;
    out.sync_all().map_err(|error| of(to, error.into()))
}

fn of(path: &Path, error: Error) -> Error {
    error.context(path.display())
}

/// The files of one checkpoint.
struct Files {
    directory: PathBuf,
    weights: Vec<PathBuf>,
    /// The text of the index that names the weights, where they are in several files.
    index: Option<String>,
}

impl Files {
    fn find(from: &Path, limits: &Limits) -> Result<Self> {
        if !from.exists() {
            return Err(Error::new(ErrorKind::Io, format!("{}: no such file", from.display())));
        }
        if from.is_file() {
            let parent = from.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = parent.unwrap_or(Path::new(".")).to_path_buf();
            return Ok(Self { directory, weights: vec![from.to_path_buf()], index: None });
        }
        let hugging_face = from.join("model.safetensors");
        let open_clip = from.join("open_clip_model.safetensors");
        let index = read(&from.join(INDEX), limits)?;
        let (weights, index) = if hugging_face.is_file() {
            (vec![hugging_face], None)
        } else if let Some(text) = index {
            (shards(from, &json(INDEX, &text, limits)?, limits)?, Some(text))
        } else if open_clip.is_file() {
            (vec![open_clip], None)
        } else {
            let message = format!(
                "{}: holds neither model.safetensors nor open_clip_model.safetensors",
                from.display()
            );
            return Err(Error::new(ErrorKind::NotAModel, message));
        };
        Ok(Self { directory: from.to_path_buf(), weights, index })
    }

    fn companions(&self, limits: &Limits) -> Result<Companions> {
        let text = |name: &str| read(&self.directory.join(name), limits);
        let directory = self.directory.canonicalize()?;
        let name = directory.file_name().unwrap_or_default();
        Ok(Companions {
            name: name.to_string_lossy().into_owned(),
            config: text("config.json")?,
            open_clip_config: text("open_clip_config.json")?,
            preprocessor_config: text("preprocessor_config.json")?,
            processor_config: text("processor_config.json")?,
            tokenizer: text("tokenizer.json")?
                .map_or_else(|| text("vocab.json"), |t| Ok(Some(t)))?,
            // What it tells may be missing.
            model_card: text("README.md").unwrap_or_default(),
            index: self.index.clone(),
        })
    }
}

fn shards(directory: &Path, index: &Json, limits: &Limits) -> Result<Vec<PathBuf>> {
    let map = index.get("weight_map").and_then(Json::as_object);
    let names: BTreeSet<&str> =
        map.into_iter().flatten().filter_map(|(_, file)| file.as_str()).collect();
    if names.is_empty() || names.iter().any(|name| name.contains(['/', '\\'])) {
        let message = format!("{INDEX} names no files beside it");
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    limits.check(Limit::Files, names.len() as u64)?;
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// A text file, if there is one.
fn read(path: &Path, limits: &Limits) -> Result<Option<String>> {
    if let Ok(about) = fs::metadata(path) {
        let within = limits.check(Limit::JsonBytes, about.len());
        within.map_err(|error| error.context(path.display()))?;
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from(error).context(path.display())),
    }
}
