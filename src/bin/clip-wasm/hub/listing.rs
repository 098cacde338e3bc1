//! What a repository has: as the Hub tells, or as the cache shows.

use std::fs;
use std::path::Path;

use clip_wasm::error::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use crate::hub_name::is_inside;

/// A repository at one commit.
pub struct Repository {
    /// `owner/name`.
    pub name: String,
    pub commit: String,
    pub files: Vec<File>,
    /// The `model_type` of its config.json.
    pub model_type: Option<String>,
    /// Models that it was made from.
    pub base_models: Vec<String>,
}

pub struct File {
    /// In the repository.
    pub path: String,
    pub size: Option<u64>,
    /// Under which name the cache stores its bytes: git's hash of it, or the SHA-256 of a large file.
    pub blob: Option<String>,
    /// Of a large file.
    pub sha256: Option<String>,
}

impl Repository {
    /// Reads the Hub's answer. Paths that would leave the repository's folder are left out.
    ///
    /// # Errors
    /// `not_json` for anything else than a listing.
    pub fn parse(name: &str, bytes: &[u8], url: &str, endpoint: &str) -> Result<Self> {
        let not_json = |what: &str| {
            let message = format!("{url} {what}; is {endpoint} a mirror of the Hub?");
            Error::new(ErrorKind::NotJson, message)
        };
        let told: Json = serde_json::from_slice(bytes)
            .map_err(|_| not_json("did not return a list of files"))?;
        let commit = told["sha"].as_str().filter(|sha| is_commit(sha));
        let (Some(siblings), Some(commit)) = (told["siblings"].as_array(), commit) else {
            return Err(not_json("returned no list of files"));
        };
        let base = &told["cardData"]["base_model"];
        let bases = base.as_array().map_or(std::slice::from_ref(base), Vec::as_slice);
        Ok(Self {
            name: name.into(),
            commit: commit.into(),
            files: siblings.iter().filter_map(File::parse).collect(),
            model_type: told["config"]["model_type"].as_str().map(str::to_owned),
            base_models: bases.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        })
    }

    /// What the cache has of a commit, in its snapshot's folder.
    pub fn cached(name: &str, commit: &str, snapshot: &Path) -> Self {
        let config = fs::read(snapshot.join("config.json")).unwrap_or_default();
        let config: Json = serde_json::from_slice(&config).unwrap_or_default();
        let mut files = Vec::new();
        for path in paths_below(snapshot) {
            files.push(File { path, size: None, blob: None, sha256: None });
        }
        Self {
            name: name.into(),
            commit: commit.into(),
            files,
            model_type: config["model_type"].as_str().map(str::to_owned),
            base_models: Vec::new(),
        }
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// # Errors
    /// `model_not_found`, with the files of the same ending.
    pub fn expect(&self, path: &str) -> Result<&File> {
        self.file(path).ok_or_else(|| {
            let ending = path.rsplit('.').next().unwrap_or_default();
            let like: Vec<_> = self.files.iter().map(|file| file.path.as_str()).collect();
            let like: Vec<_> = like.into_iter().filter(|path| path.ends_with(ending)).collect();
            let has = if like.is_empty() { "no such file".into() } else { like.join(", ") };
            let message = format!("{} has no file {path}; it has {has}", self.name);
            Error::new(ErrorKind::ModelNotFound, message)
        })
    }
}

impl File {
    fn parse(told: &Json) -> Option<Self> {
        let path = told["rfilename"].as_str().filter(|path| is_inside(path))?;
        let hash =
            |value: &Json| value.as_str().filter(|hash| is_commit(hash)).map(str::to_lowercase);
        let sha256 = hash(&told["lfs"]["sha256"]).filter(|hash| hash.len() == 64);
        Some(Self {
            path: path.into(),
            size: told["size"].as_u64(),
            blob: sha256.clone().or_else(|| hash(&told["blobId"])),
            sha256,
        })
    }
}

/// Whether this is a whole hash: SHA-1, which git has for commits and blobs, or SHA-256.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The files in a folder and its subfolders, as paths relative to it with `/`; links count as what they
/// point to. Empty if there is no such folder.
pub fn paths_below(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push((entry.path(), format!("{path}/")));
            } else if entry.path().is_file() {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
}
