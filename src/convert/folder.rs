//! Converts a checkpoint on disk to a file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::convert::plan::json;
use crate::convert::{Companions, Converter, FileType};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::model::config::Activation;

const CHUNK_BYTES: usize = 1 << 20;

/// File names of a checkpoint's weights, and whether the file is an index of several files. The first
/// existing one is used: like transformers and open_clip, safetensors before pickles.
const WEIGHTS: [(&str, bool); 6] = [
    ("model.safetensors", false),
    ("model.safetensors.index.json", true),
    ("open_clip_model.safetensors", false),
    ("pytorch_model.bin", false),
    ("pytorch_model.bin.index.json", true),
    ("open_clip_pytorch_model.bin", false),
];

/// The files next to the weights that describe the model. Without a `tokenizer.json`, `vocab.json` is read.
pub const COMPANIONS: [&str; 7] = [
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "README.md",
];

/// Converts `from` to the GGUF file `to`. `from` is a directory in the form of Hugging Face or open_clip,
/// or in such a directory a `.safetensors` or `.bin` file of weights, or the index of several. `to` appears
/// only when it is complete, and if it is a link, as the file that it leads to. `activation` overrides the
/// checkpoint's configuration. `progress` receives the number of bytes written and the total.
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
/// `io`, `invalid_input` if `to` is not where a file can be, and those of [`Converter`].
pub fn convert(
    from: &Path,
    to: &Path,
    file_type: FileType,
    activation: Option<Activation>,
    limits: &Limits,
    progress: impl FnMut(u64, u64),
) -> Result<()> {
    let files = Files::find(from, limits)?;
    let to = &place_of(to)?;
    files.refuse_to_replace(to)?;
    let converter = Converter::new(files.companions(limits)?, file_type, activation);
    let converter = converter.with_limits(*limits).seeking();
    let partial = to.with_added_extension("part");
    stream(converter, &files.weights, &partial, progress)
        .and_then(|()| fs::rename(&partial, to).map_err(|error| of(to, error.into())))
        .inspect_err(|_| drop(fs::remove_file(&partial)))
}

/// Where the file is to be: `to`, or what it leads to if it is a link, which stays one.
fn place_of(to: &Path) -> Result<PathBuf> {
    let refused = |kind, message: String| Err(of(to, Error::new(kind, message)));
    match fs::metadata(to) {
        Ok(found) if found.is_dir() => {
            let message = format!(
                "this is a folder: name the file too, such as {}",
                to.join("clip.gguf").display()
            );
            return refused(ErrorKind::InvalidInput, message);
        }
        Ok(found) if !found.is_file() => {
            let message = "this is a device or a pipe, which a GGUF cannot be written to: give the path of a file";
            return refused(ErrorKind::InvalidInput, message.into());
        }
        Err(error) if error.kind() != IoErrorKind::NotFound => return Err(of(to, error.into())),
        _ => {}
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Ok(target) = fs::read_link(to) {
        return place_of(&folder.join(target));
    }
    let is_folder = to.to_string_lossy().ends_with(std::path::is_separator);
    if is_folder || to.file_name().is_none() {
        return refused(ErrorKind::InvalidInput, "this is not the path of a file".into());
    }
    if !folder.is_dir() {
        let message = format!("there is no folder {}: create it first", folder.display());
        return refused(ErrorKind::Io, message);
    }
    Ok(to.to_path_buf())
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
        let mut position = 0;
        loop {
            // The scale is read first if it is stored further on, then the tensors in order.
            let wanted = converter.wanted().filter(|_| converter.source_size().is_none());
            let part = wanted.and_then(|parts| parts.into_iter().next());
            let (from, most) = match &part {
                Some(part) => (part.start, (part.end - part.start) as usize),
                None => (position, CHUNK_BYTES),
            };
            let place = file.seek(SeekFrom::Start(from));
            let read = place.and_then(|_| file.read(&mut chunk[..most.min(CHUNK_BYTES)]));
            let read = read.map_err(|error| of(path, error.into()))?;
            if read == 0 {
                break;
            }
            match part {
                Some(_) => converter.seek(from),
                None => position += read as u64,
            }
            converter.push(&chunk[..read], &mut write).map_err(|error| of(path, error))?;
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
    /// The text of the index that names the weights, if they are in several files.
    index: Option<String>,
}

impl Files {
    fn find(from: &Path, limits: &Limits) -> Result<Self> {
        if !from.exists() {
            let message = format!(
                "{}: no such file or folder; for a model on the web, download its files into a folder first",
                from.display()
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        if from.is_file() {
            let parent = from.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = parent.unwrap_or(Path::new(".")).to_path_buf();
            return Self::of(directory, from.to_path_buf(), limits);
        }
        let paths = WEIGHTS.iter().map(|(name, _)| from.join(name));
        if let Some(path) = paths.into_iter().find(|path| path.is_file()) {
            return Self::of(from.to_path_buf(), path, limits);
        }
        let names: Vec<_> =
            WEIGHTS.iter().filter(|(_, index)| !index).map(|(name, _)| *name).collect();
        let message = format!(
            "{}: contains none of {}; weights in other formats, such as .onnx, .h5 or .msgpack, cannot be converted",
            from.display(),
            names.join(", ")
        );
        Err(Error::new(ErrorKind::NotAModel, message))
    }

    /// `path` is that of the weights, or of their index.
    fn of(directory: PathBuf, path: PathBuf, limits: &Limits) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".index.json") {
            return Ok(Self { directory, weights: vec![path], index: None });
        }
        let index = read(&path, limits)?.unwrap_or_default();
        let weights = shards(&directory, &name, &json(&name, &index, limits)?, limits)?;
        Ok(Self { directory, weights, index: Some(index) })
    }

    /// Refuses to overwrite a file of the checkpoint.
    fn refuse_to_replace(&self, to: &Path) -> Result<()> {
        let Ok(to_file) = to.canonicalize() else { return Ok(()) };
        let indexes = WEIGHTS.iter().filter(|(_, is_index)| *is_index).map(|(name, _)| name);
        let beside = COMPANIONS.iter().chain(indexes).map(|name| self.directory.join(name));
        let mut own = beside.chain(self.weights.clone());
        if own.any(|file| file.canonicalize().is_ok_and(|file| file == to_file)) {
            let message = "this is a file of the checkpoint itself: give the GGUF another name";
            return Err(of(to, Error::new(ErrorKind::InvalidInput, message)));
        }
        Ok(())
    }

    fn companions(&self, limits: &Limits) -> Result<Companions> {
        let text = |name: &str| read(&self.directory.join(name), limits);
        Ok(Companions {
            name: name_of(&self.directory.canonicalize()?),
            config: text("config.json")?,
            open_clip_config: text("open_clip_config.json")?,
            preprocessor_config: text("preprocessor_config.json")?,
            processor_config: text("processor_config.json")?,
            tokenizer: text("tokenizer.json")?
                .map_or_else(|| text("vocab.json"), |t| Ok(Some(t)))?,
            // A model card that cannot be read is treated as missing.
            model_card: text("README.md").unwrap_or_default(),
            index: self.index.clone(),
        })
    }
}

/// The name of a checkpoint's folder. In the cache of models of the Hub that is a commit, so there it is the
/// model's: `name` for `models--owner--name/snapshots/COMMIT`.
fn name_of(directory: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let snapshots = directory.ancestors().find(|path| path.ends_with("snapshots"));
    let model = snapshots.and_then(Path::parent).map(name);
    let model = model.as_deref().and_then(|model| model.strip_prefix("models--"));
    let model = model.and_then(|model| model.rsplit("--").next()).map(str::to_owned);
    model.unwrap_or_else(|| name(directory))
}

fn shards(directory: &Path, name: &str, index: &Json, limits: &Limits) -> Result<Vec<PathBuf>> {
    let map = index.get("weight_map").and_then(Json::as_object);
    let names: BTreeSet<&str> =
        map.into_iter().flatten().filter_map(|(_, file)| file.as_str()).collect();
    if names.is_empty() || names.iter().any(|name| name.contains(['/', '\\'])) {
        let message = format!("{name} must name files in its own folder");
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    limits.check(Limit::Files, names.len() as u64)?;
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Reads a text file, if it exists.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_the_cache_of_the_hub_has_its_own_name() {
        for (folder, name) in [
            ("/a/tiny-hf", "tiny-hf"),
            ("/a/hub/models--openai--clip-vit-b/snapshots/3d74acf9", "clip-vit-b"),
            ("/a/hub/models--openai--clip-vit-b/snapshots/3d74acf9/sub", "clip-vit-b"),
            ("/a/hub/models--gpt2/snapshots/3d74acf9", "gpt2"),
            ("/a/snapshots/tiny-hf", "tiny-hf"),
            ("/", ""),
        ] {
            assert_eq!(name_of(Path::new(folder)), name, "{folder}");
        }
    }
}
