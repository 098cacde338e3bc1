//! Checkpoints that were converted to GGUF, each once for a commit of its repository. They are where
//! huggingface_hub has such things: in a folder of its assets that has the program's name.

use std::path::PathBuf;

use clip_wasm::convert::{FileType, convert};
use clip_wasm::error::Result;

use super::listing::{Repository, paths_below};
use super::lock::lock;
use super::{Found, Hub};
use crate::progress;

/// Version of the conversion's output, as in www/lib/worker/load-checkpoint.js. What an earlier version has
/// made is not used.
const CONVERSION: u32 = 2;

impl Hub {
    /// The GGUF of a checkpoint: q8_0, unless another type is asked for.
    pub fn converted(&self, found: &Found, file_type: Option<&str>) -> Result<PathBuf> {
        let Found { repository, path, .. } = found;
        let file_type = FileType::named(file_type.unwrap_or("q8_0"))?;
        let gguf = self.conversions(repository).join(format!("{path}{}", suffix(file_type)));
        if gguf.is_file() {
            return Ok(gguf);
        }
        let weights = self.fetch_checkpoint(found)?;
        let _lock = lock(&gguf.with_added_extension("lock"), &repository.name)?;
        if gguf.is_file() {
            return Ok(gguf);
        }
        let name = &repository.name;
        eprintln!("converting {name} to {}, once: {}", file_type.name, gguf.display());
        let bar = progress::bytes(path);
        convert(&weights, &gguf, file_type, None, &self.limits, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        Ok(gguf)
    }

    /// The checkpoints of a commit that were converted, as their paths in the repository.
    pub fn converted_paths(&self, repository: &Repository) -> Vec<String> {
        let made = paths_below(&self.conversions(repository));
        let ending = format!(".v{CONVERSION}.gguf");
        let sources = made.iter().filter_map(|path| path.strip_suffix(&ending)?.rsplit_once('.'));
        sources.map(|(path, _)| path.to_owned()).collect()
    }

    fn conversions(&self, repository: &Repository) -> PathBuf {
        let name = repository.name.replace('/', "--");
        self.settings.assets.join("clip-wasm").join(name).join(&repository.commit)
    }
}

fn suffix(file_type: FileType) -> String {
    format!(".{}.v{CONVERSION}.gguf", file_type.name)
}
