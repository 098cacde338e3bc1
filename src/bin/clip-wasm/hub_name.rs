//! Names and addresses of models on Hugging Face's Hub, as in www/lib/shared/hub.js. Both are tested with
//! tests/fixtures/hub-names.json.

use clip_wasm::error::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;

/// Where the Hub is, unless the environment names a mirror.
pub const HUB: &str = "https://huggingface.co";
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];
/// Parts of the Hub that are no models.
const OTHER_KINDS: [&str; 10] = [
    "api",
    "blog",
    "collections",
    "datasets",
    "docs",
    "models",
    "organizations",
    "papers",
    "settings",
    "spaces",
];

/// A model on the Hub, or on a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
pub struct HubModel {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag, a commit, or a reference such as `refs/pr/3`.
    pub revision: String,
    /// Its path in the repository; `None` if it is to be chosen.
    pub file: Option<String>,
}

impl HubModel {
    /// The model that is given by its name or by an address: `owner/name`, `owner/name@revision`,
    /// `owner/name/file.gguf`, the same after `hf.co/`, and addresses of repositories, folders (`/tree/`)
    /// and files (`/blob/`, `/resolve/`) on the Hub or on the mirror `endpoint`. `None` for anything else,
    /// which is the path of a file, or another address.
    ///
    /// # Errors
    /// `not_a_model` for other addresses on the Hub, `invalid_input` for an invalid revision.
    pub fn named(source: &str, endpoint: &str) -> Result<Option<Self>> {
        let text = source.trim();
        let (scheme, rest) = split_scheme(text);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let mut parts: Vec<&str> = Vec::new();
        for (index, part) in rest.split('/').enumerate() {
            if index == 0 || !part.is_empty() {
                parts.push(part);
            }
        }
        let first = parts[0].to_lowercase();
        let (_, mirror) = split_scheme(endpoint);
        let is_hub = HOSTS.contains(&first.as_str()) || mirror.split('/').next() == Some(&first);
        match scheme.map(str::to_lowercase).as_deref() {
            Some("hf") => return Self::from_parts(&parts, source).map(Some),
            None | Some("http" | "https") if is_hub => {
                return Self::from_parts(&parts[1..], source).map(Some);
            }
            Some(_) => return Ok(None),
            None => {}
        }
        let (bare, revision) = split_revision(parts.get(1).copied().unwrap_or_default());
        let is_named = is_name(parts[0]) && is_name(bare);
        // A file in a folder, not a repository.
        let is_path = match parts.get(2..).and_then(<[&str]>::last) {
            None => is_model_file(bare),
            Some(last) => !is_model_file(last),
        };
        if !is_named || (revision.is_none() && is_path) {
            return Ok(None);
        }
        Self::from_parts(&parts, source).map(Some)
    }

    /// `parts` of the path: `owner`, `name`, perhaps `blob`, `resolve` or `tree` with a revision, and a file.
    fn from_parts(parts: &[&str], source: &str) -> Result<Self> {
        let parts: Vec<String> = parts.iter().map(|part| decoded(part)).collect();
        let owner = parts.first().map_or("", String::as_str);
        let (name, at) = split_revision(parts.get(1).map_or("", String::as_str));
        if !is_name(owner) || !is_name(name) || OTHER_KINDS.contains(&owner) {
            let message = format!(
                "{source} is not the name or the address of a model on the Hub, such as openai/clip-vit-base-patch32"
            );
            return Err(Error::new(ErrorKind::NotAModel, message));
        }
        let rest = &parts[2..];
        let kind = rest.first().map(String::as_str);
        let is_page = matches!(kind, Some("blob" | "resolve" | "raw" | "tree"));
        let (revision, file) = if is_page {
            split_path(&rest[1..].join("/"))
        } else if let Some(at) = at {
            let path = [&[at.to_owned()], rest].concat().join("/");
            split_path(&path)
        } else {
            (Some("main".into()), rest.join("/"))
        };
        let revision = revision.or_else(|| is_page.then(|| "main".into()));
        let Some(revision) = revision.filter(|revision| is_inside(revision)) else {
            let message = format!("{source} has no revision after the @");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        if kind == Some("tree") && !file.is_empty() {
            let message = format!(
                "{source} is a folder of a repository; give a file in it, such as {owner}/{name}@{revision}/{file}/model.gguf"
            );
            return Err(Error::new(ErrorKind::NotAModel, message));
        }
        let file = (!file.is_empty()).then_some(file);
        Ok(Self { repository: format!("{owner}/{name}"), revision, file })
    }
}

/// Whether a text is an address with this or another scheme, or begins with a host of the Hub: no path.
pub fn is_address(source: &str) -> bool {
    let (scheme, rest) = split_scheme(source.trim());
    scheme.is_some() || HOSTS.contains(&rest.split('/').next().unwrap_or_default())
}

/// The scheme of an address, and what comes after it. `C:` is none.
fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((scheme, rest))
            if scheme.len() > 1
                && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '.' | '-')) =>
        {
            (Some(scheme), rest.trim_start_matches('/'))
        }
        _ => (None, text),
    }
}

/// `name@revision`.
fn split_revision(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (name, None),
    }
}

/// `revision/file`, of which the revision may be `refs/pr/3`.
fn split_path(path: &str) -> (Option<String>, String) {
    let parts: Vec<&str> = path.split('/').collect();
    let length = if parts[0] == "refs" && parts.len() >= 3 { 3 } else { 1 };
    let revision = parts[..length].join("/");
    ((!revision.is_empty()).then_some(revision), parts[length..].join("/"))
}

/// An owner or a repository: letters, digits, `_`, `.` and `-`.
fn is_name(text: &str) -> bool {
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    text.chars().any(is_word) && text.chars().all(|it| is_word(it) || matches!(it, '.' | '-'))
}

/// Whether a path stays below the folder that it is joined to.
pub fn is_inside(path: &str) -> bool {
    path.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']))
}

/// Whether a file's name is that of a GGUF, or of a checkpoint's weights or their index.
fn is_model_file(name: &str) -> bool {
    is_gguf(name) || is_checkpoint(name)
}

pub fn is_gguf(path: &str) -> bool {
    path.to_lowercase().ends_with(".gguf")
}

/// Weights of a checkpoint, or the index of several files of them. torch's are known by the whole name,
/// because other files end in `.bin` too.
pub fn is_checkpoint(path: &str) -> bool {
    let path = path.to_lowercase();
    let path = path.strip_suffix(".index.json").unwrap_or(&path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let torch = name.strip_prefix("open_clip_").unwrap_or(name).strip_prefix("pytorch_model");
    let shard = torch.and_then(|rest| rest.strip_suffix(".bin"));
    name.ends_with(".safetensors")
        || shard.is_some_and(|shard| shard.is_empty() || shard.contains("-of-"))
}

/// A part of an address; unchanged if its percent signs encode nothing.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8().map_or_else(|_| part.into(), |text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    fn rows(of: &str) -> Vec<Json> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hub-names.json");
        let table: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        table[of].as_array().unwrap().clone()
    }

    /// A row's source, and the address of the mirror; `None` for options that only JavaScript has.
    fn given(row: &Json) -> Option<(&str, &str)> {
        let host = row["options"]["host"].as_str().unwrap_or(HUB);
        let is_mirror = row["options"]["revision"].is_null() && !host.contains(' ');
        is_mirror.then_some((row["source"].as_str()?, host))
    }

    #[test]
    fn names_are_those_of_javascript() {
        for row in rows("names") {
            let Some((source, host)) = given(&row) else { continue };
            let wanted = row.get("commandLine").unwrap_or(&row["wanted"]);
            let text = |key: &str| wanted[key].as_str().map(str::to_owned);
            let wanted = text("repository").map(|repository| HubModel {
                repository,
                revision: text("revision").unwrap_or("main".into()),
                file: text("file"),
            });
            assert_eq!(HubModel::named(source, host).unwrap(), wanted, "{row}");
        }
    }

    #[test]
    fn wrong_names_are_refused_as_in_javascript() {
        for row in rows("wrongNames") {
            let Some((source, host)) = given(&row) else { continue };
            let error = HubModel::named(source, host).unwrap_err();
            assert_eq!(Some(error.code()), row["code"].as_str(), "{row}");
            assert!(error.to_string().contains(row["says"].as_str().unwrap()), "{row}: {error}");
        }
    }

    #[test]
    fn a_revision_or_a_file_stays_in_its_folder() {
        for revision in ["..", ".", "a\\b", "refs/../x", "refs/pr/.."] {
            let error = HubModel::named(&format!("owner/name@{revision}"), HUB).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{revision}: {error}");
        }
        for path in ["../x", "a/../b", "/a", "a//b", "C:/a", "a\\..\\b", ""] {
            assert!(!is_inside(path), "{path}");
        }
        assert!(is_inside("a/b.c/..d"));
    }
}
