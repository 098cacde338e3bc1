//! Which file of a repository is taken, as in www/lib/client/hub-files.js. Both are tested with
//! tests/fixtures/hub-names.json.

use clip_wasm::error::{Error, ErrorKind, Result};

use super::listing::{File, Repository};
use crate::hub_name::is_gguf;

/// Types of weights, the one that is chosen first.
const TYPES: [&str; 12] =
    ["q8_0", "f16", "f32", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0", "q3_k", "q2_k"];

const TRANSFORMERS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
const OPEN_CLIP: [&str; 1] = ["open_clip_model.safetensors"];
const TRANSFORMERS_PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
const OPEN_CLIP_PICKLES: [&str; 1] = ["open_clip_pytorch_model.bin"];

/// A GGUF with both towers, else a checkpoint: safetensors before pickles.
///
/// # Errors
/// `invalid_input` if there is no file of the type that is asked for; `missing_tower`, `unsupported_model`
/// or `not_a_model` if nothing can be read.
pub fn choose<'a>(repository: &'a Repository, wanted: Option<&str>) -> Result<&'a File> {
    let ggufs: Vec<&File> = repository.files.iter().filter(|file| is_gguf(&file.path)).collect();
    let both: Vec<&File> =
        ggufs.iter().copied().filter(|file| !has_one_tower(&file.path)).collect();
    if let Some(chosen) = of_type(&both, wanted) {
        return Ok(chosen);
    }
    // A checkpoint can be converted to the wanted type.
    if let Some(checkpoint) = checkpoint(repository) {
        return Ok(checkpoint);
    }
    if let (Some(wanted), false) = (wanted, both.is_empty()) {
        let types = both.iter().map(|file| weight_type(&file.path).unwrap_or(file.path.clone()));
        let types = types.collect::<Vec<_>>().join(", ");
        let message = format!("{} has no GGUF of type {wanted}; it has {types}", repository.name);
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Err(nothing(repository, &ggufs))
}

/// Of a checkpoint, the weights, or their index if they are in several files.
pub fn checkpoint(repository: &Repository) -> Option<&File> {
    // Beside open_clip's own weights, a model.safetensors may be timm's, which has other tensors.
    let is_transformers = repository.model_type.as_deref() == Some("clip")
        || repository.file("open_clip_config.json").is_none();
    let (safetensors, pickles) = if is_transformers {
        ([&TRANSFORMERS[..], &OPEN_CLIP], [&TRANSFORMERS_PICKLES[..], &OPEN_CLIP_PICKLES])
    } else {
        ([&OPEN_CLIP[..], &TRANSFORMERS], [&OPEN_CLIP_PICKLES[..], &TRANSFORMERS_PICKLES])
    };
    let names = safetensors.into_iter().chain(pickles).flatten();
    names.copied().find_map(|name| repository.file(name))
}

fn of_type<'a>(candidates: &[&'a File], wanted: Option<&str>) -> Option<&'a File> {
    let wanted = wanted.map(str::to_lowercase);
    let types = wanted.as_deref().map_or(TYPES.to_vec(), |wanted| vec![wanted]);
    let has = |file: &&&File, kind: &str| weight_type(&file.path).as_deref() == Some(kind);
    let chosen = types.into_iter().find_map(|kind| {
        let found = candidates.iter().filter(|file| has(file, kind));
        found.min_by_key(|file| file.path.len()).copied()
    });
    // A name that does not tell its type can have the wanted one only if nobody asked for one.
    chosen.or_else(|| candidates.first().copied().filter(|_| wanted.is_none()))
}

/// The type of a GGUF's weights, as its name tells it: the variants of a K-quant, such as Q4_K_M, count as
/// one.
fn weight_type(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.to_lowercase();
    let bytes = name.as_bytes();
    let is_edge = |at: usize| matches!(bytes.get(at), Some(b'-' | b'_' | b'.'));
    let starts = (0..bytes.len()).rev().filter(|at| *at == 0 || is_edge(*at - 1));
    let types = starts.filter_map(|at| {
        let length = match &bytes[at..] {
            [b'b', b'f', b'1', b'6', ..] => 4,
            [b'f', b'1', b'6', ..] | [b'f', b'3', b'2', ..] => 3,
            [b'q', b'0'..=b'9', b'_', b'0' | b'1' | b'k', ..] => 4,
            _ => return None,
        };
        is_edge(at + length).then(|| name[at..at + length].to_owned())
    });
    types.into_iter().next()
}

/// Whether a GGUF is of one tower, as clip.cpp and llama.cpp name them.
fn has_one_tower(path: &str) -> bool {
    let path = path.to_lowercase().replace('_', "-");
    let towers = ["text-model", "text-encoder", "mmproj"];
    let vision = ["vision", "visual", "image"]
        .map(|tower| [format!("{tower}-model"), format!("{tower}-encoder")]);
    towers.iter().any(|tower| path.contains(tower))
        || vision.iter().flatten().any(|tower| path.contains(tower.as_str()))
}

fn nothing(Repository { name, files, base_models, .. }: &Repository, ggufs: &[&File]) -> Error {
    if !ggufs.is_empty() {
        let paths: Vec<_> = ggufs.iter().map(|file| format!("{name}/{}", file.path)).collect();
        let message =
            format!("{name} has no file with both towers; load one of {}", paths.join(", "));
        return Error::new(ErrorKind::MissingTower, message);
    }
    let paths = || files.iter().map(|file| file.path.to_lowercase());
    if paths().any(|path| path.ends_with(".onnx")) {
        let base = if base_models.is_empty() {
            "load the model that they were made from, which its page names".into()
        } else {
            format!("load the model that they were made from: {}", base_models.join(" or "))
        };
        let message =
            format!("{name} has ONNX files only, which are made for other programs; {base}");
        return Error::new(ErrorKind::UnsupportedModel, message);
    }
    let kinds = ["h5", "msgpack", "pt", "ckpt", "tflite", "mlpackage"];
    let is_of = |path: &str, kind: &str| {
        path.ends_with(&format!(".{kind}")) || path.contains(&format!(".{kind}/"))
    };
    let other = kinds.into_iter().filter(|kind| paths().any(|path| is_of(&path, kind)));
    let other = other.collect::<Vec<_>>().join(", .");
    let found = if other.is_empty() {
        "no weights".into()
    } else {
        format!("only weights in forms that are not read (.{other})")
    };
    let message = format!(
        "{name} has {found}; a GGUF, safetensors or pytorch_model.bin file of a CLIP model is needed"
    );
    Error::new(ErrorKind::NotAModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    /// Of each row: itself, a repository, and the type that is asked for. Without rows that ask for one tower,
    /// which only JavaScript can.
    fn rows(of: &str) -> Vec<(Json, Repository, Option<String>)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hub-names.json");
        let table: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let strings = |list: &Json| -> Vec<String> {
            list.as_array().into_iter().flatten().map(|it| it.as_str().unwrap().into()).collect()
        };
        let mut rows = table[of].as_array().unwrap().clone();
        rows.retain(|row| row["wanted"]["towers"].is_null());
        let rows = rows.into_iter().map(|row| {
            let files = strings(&row["paths"]).into_iter();
            let model_type = row["about"].get("modelType").map_or(Some("clip"), Json::as_str);
            let repository = Repository {
                name: "owner/name".into(),
                commit: "0".repeat(40),
                files: files
                    .map(|path| File { path, size: None, blob: None, sha256: None })
                    .collect(),
                model_type: model_type.map(str::to_owned),
                base_models: strings(&row["about"]["baseModels"]),
            };
            let wanted = row["wanted"]["type"].as_str().map(str::to_owned);
            (row, repository, wanted)
        });
        rows.collect()
    }

    #[test]
    fn the_file_is_that_of_javascript() {
        for (row, repository, wanted) in rows("choices") {
            let chosen = choose(&repository, wanted.as_deref());
            assert_eq!(Some(chosen.ok().unwrap().path.as_str()), row["path"].as_str(), "{row}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_as_in_javascript() {
        for (row, repository, wanted) in rows("nothing") {
            let error = choose(&repository, wanted.as_deref()).err().unwrap();
            assert_eq!(Some(error.code()), row["code"].as_str(), "{row}: {error}");
            assert!(error.to_string().contains(row["says"].as_str().unwrap()), "{row}: {error}");
        }
    }
}
