//! Checkpoints with more tokens than CLIP's, or with more rows than tokens, compared with transformers
//! (tests/reference/vocabularies.py); and single towers.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::reliability::record;
use crate::support::{cosine, fixture};
use candle_core::{DType, Device, Tensor};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::format::gguf::{Header, Value as Metadata};
use clip_wasm::{ClipEncoder, Error, ErrorKind, Limits, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

/// A text tower with its tokenizer.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// Number of rows in the embedding.
    rows: usize,
    /// `config.json`, as written by transformers.
    config: Value,
    /// The `added_tokens` of `tokenizer.json`.
    added_tokens: Value,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

const TOKENS: &str = "text_model.embeddings.token_embedding.weight";

fn cases() -> Vec<Case> {
    let text = fs::read(fixture("vocabularies.json")).unwrap();
    serde_json::from_slice::<Cases>(&text).unwrap().cases
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).expect(name)
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo_model/shapes-and-colours")
}

fn json_of(name: &str) -> Value {
    serde_json::from_slice(&fs::read(demo().join(name)).unwrap()).unwrap()
}

/// A checkpoint made from the demo model's.
struct Checkpoint {
    folder: TempDir,
}

impl Checkpoint {
    /// A checkpoint with the tensors whose names start with one of `tensors`, and `rows` rows in the token
    /// embedding.
    fn new(tensors: &[&str], rows: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let file = fs::read(demo().join("model.safetensors")).unwrap();
        let views = SafeTensors::deserialize(&file).unwrap().tensors();
        let kept =
            views.into_iter().filter(|(name, _)| tensors.iter().any(|it| name.starts_with(it)));
        let kept = kept.map(|(name, view)| {
            if name == TOKENS {
                return (
                    name,
                    Dtype::F32,
                    vec![rows, view.shape()[1]],
                    Cow::Owned(padded(&view, rows)),
                );
            }
            (name, view.dtype(), view.shape().to_vec(), Cow::Borrowed(view.data()))
        });
        let kept: Vec<_> = kept.collect();
        let views = kept.iter().map(|(name, dtype, shape, data)| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        Self { folder }
    }

    /// A checkpoint with the tensors whose names start with `prefix`, without that prefix.
    fn renamed(prefix: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = fs::read(demo().join("model.safetensors")).unwrap();
        let views = SafeTensors::deserialize(&file).unwrap().tensors().into_iter();
        let views =
            views.filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_string(), view)));
        let bytes = safetensors::serialize(views, None).unwrap();
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        Self { folder }
    }

    /// The checkpoint of a case.
    fn of(case: &Case) -> Self {
        let mut tokenizer = json_of("tokenizer.json");
        tokenizer["added_tokens"] = case.added_tokens.clone();
        Self::new(&["text_"], case.rows)
            .with("config.json", &case.config)
            .with("tokenizer.json", &tokenizer)
    }

    fn with(self, file: &str, content: &Value) -> Self {
        fs::write(self.folder.path().join(file), content.to_string()).unwrap();
        self
    }

    fn gguf(&self) -> Result<PathBuf> {
        let gguf = self.folder.path().join("model.gguf");
        let limits = Limits::default();
        convert(self.folder.path(), &gguf, FileType::named("f32")?, None, &limits, |_, _| {})?;
        Ok(gguf)
    }

    fn refused(&self) -> Error {
        let error = self.gguf().expect_err("it was converted");
        let gguf = self.folder.path().join("model.gguf");
        assert!(!gguf.exists(), "{error}, but there is a file");
        error
    }
}

/// The rows that tests/reference/vocabularies.py adds.
fn padded(view: &TensorView, rows: usize) -> Vec<u8> {
    let (known, width) = (view.shape()[0], view.shape()[1]);
    assert_eq!(view.dtype(), Dtype::F16);
    let table = Tensor::from_raw_buffer(view.data(), DType::F16, &[known * width], &Device::Cpu);
    let mut values: Vec<f32> = table.unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap();
    values.truncate(rows * width);
    for row in known..rows {
        let from = 31 * row % known * width;
        let row: Vec<f32> = values[from..from + width].iter().map(|value| 1.5 * value).collect();
        values.extend(row);
    }
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn texts_have_the_ids_and_the_vectors_of_transformers() {
    let cases = cases();
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let checkpoint = Checkpoint::of(case);
        let gguf = checkpoint.gguf().expect(&case.name);
        let encoder = ClipEncoder::open(&gguf).unwrap();
        for Text { text, ids, embedding } in &case.texts {
            let label = format!("{}: {text:?}", case.name);
            assert_eq!(encoder.tokenize(text).unwrap().ids(), ids, "{label}");
            let embedded = encoder.embed_text(text, true).unwrap();
            let cosine = cosine(embedded.values(), embedding);
            assert!(cosine > 0.999_999, "{label}: cosine {cosine}");
        }
    }
    let texts: usize = cases.iter().map(|case| case.texts.len()).sum();
    let outcome = "each the ids and the vector that transformers gives";
    record(
        "inputs",
        "texts of models with added tokens or padded rows",
        &texts.to_string(),
        outcome,
    );
}

fn header(gguf: &Path) -> Header {
    Header::parse(&fs::read(gguf).unwrap(), &Limits::default()).unwrap().expect("it is whole")
}

/// The strings in an array of a GGUF.
fn strings(header: &Header, key: &str) -> Vec<String> {
    let list = header.get(key).unwrap().to_vec().unwrap();
    list.iter().map(|value| value.to_string().unwrap().clone()).collect()
}

#[test]
fn a_file_has_keys_of_its_own_only_where_it_differs() {
    let own =
        ["tokenizer.huggingface.added_tokens", "clip.text.pool_type", "tokenizer.ggml.merges"];
    for (name, has) in [
        ("added tokens", [true, false, false]),
        ("added tokens, pooled at the highest id", [true, true, false]),
        ("padded rows", [false; 3]),
        ("padded rows of an older description", [false; 3]),
        ("marks that are normalised", [true, false, false]),
    ] {
        let checkpoint = Checkpoint::of(&case(name));
        let header = header(&checkpoint.gguf().unwrap());
        assert_eq!(own.map(|key| header.get(key).is_some()), has, "{name}");
    }
    let checkpoint = Checkpoint::of(&case("added tokens"));
    let header = header(&checkpoint.gguf().unwrap());
    let tokens = strings(&header, "tokenizer.ggml.tokens");
    assert_eq!(tokens.len(), 812);
    assert_eq!((&*tokens[798], &*tokens[799]), ("<|endoftext|>", "<cat-toy>"));
    let Some(Metadata::String(added)) = header.get(own[0]) else { panic!("it is no string") };
    let added: Value = serde_json::from_str(added).unwrap();
    assert_eq!(added, case("added tokens").added_tokens);
}

/// `config.json` of one of the demo model's towers, as transformers 5 writes it.
fn tower_config(name: &str) -> Value {
    let mut config = json_of("config.json")[format!("{name}_config")].clone();
    config["projection_dim"] = json!(128);
    config
}

fn text_tower() -> Checkpoint {
    Checkpoint::new(&["text_"], 799)
        .with("config.json", &tower_config("text"))
        .with("tokenizer.json", &json_of("tokenizer.json"))
}

fn vision_tower() -> Checkpoint {
    Checkpoint::new(&["vision_", "visual_"], 799)
        .with("config.json", &tower_config("vision"))
        .with("preprocessor_config.json", &json_of("preprocessor_config.json"))
}

#[test]
fn a_tower_alone_gives_the_vectors_of_both_together() {
    let both = Checkpoint::new(&[""], 799)
        .with("config.json", &json_of("config.json"))
        .with("preprocessor_config.json", &json_of("preprocessor_config.json"))
        .with("tokenizer.json", &json_of("tokenizer.json"));
    let both = ClipEncoder::open(both.gguf().unwrap()).unwrap();
    let image = crate::support::images::read("orientation_6.jpg");

    let text = ClipEncoder::open(text_tower().gguf().unwrap()).unwrap();
    assert_eq!(text.info().towers, ["text"]);
    assert_eq!(text.info().logit_scale, 100.0);
    let embed = |encoder: &ClipEncoder| encoder.embed_text("a red circle", true).unwrap();
    assert_eq!(embed(&text).values(), embed(&both).values());
    assert_eq!(text.embed_image(&image, true).unwrap_err().kind(), ErrorKind::MissingTower);

    let vision = ClipEncoder::open(vision_tower().gguf().unwrap()).unwrap();
    assert_eq!(vision.info().towers, ["vision"]);
    assert_eq!(vision.info().preprocessing, both.info().preprocessing);
    let embed = |encoder: &ClipEncoder| encoder.embed_image(&image, true).unwrap();
    assert_eq!(embed(&vision).values(), embed(&both).values());
    assert_eq!(vision.embed_text("a", true).unwrap_err().kind(), ErrorKind::MissingTower);
}

#[test]
fn a_tower_without_its_projection_is_refused_by_name() {
    let config = tower_config("vision");
    // The tensor names of CLIPVisionModel in transformers 4, and those in transformers 5.
    let older = Checkpoint::new(&["vision_"], 799).with("config.json", &config);
    let newer = Checkpoint::renamed("vision_model.").with("config.json", &config);
    let text = Checkpoint::renamed("text_model.")
        .with("config.json", &tower_config("text"))
        .with("tokenizer.json", &json_of("tokenizer.json"));
    for (checkpoint, class) in [
        (older, "CLIPVisionModelWithProjection"),
        (newer, "CLIPVisionModelWithProjection"),
        (text, "CLIPTextModelWithProjection"),
    ] {
        let error = checkpoint.refused();
        assert_eq!(error.kind(), ErrorKind::MissingTensor, "{error}");
        assert!(error.to_string().contains(class), "{error}");
    }
}

#[test]
fn other_vocabularies_are_refused_by_name() {
    use ErrorKind::{MalformedModel, UnsupportedModel};
    let with = |change: &dyn Fn(&mut Value)| {
        let mut tokenizer = json_of("tokenizer.json");
        change(&mut tokenizer);
        text_tower().with("tokenizer.json", &tokenizer)
    };
    let with_rows = |rows: usize, change: &dyn Fn(&mut Value)| {
        let mut config = tower_config("text");
        config["vocab_size"] = json!(rows);
        change(&mut config);
        Checkpoint::new(&["text_"], rows)
            .with("config.json", &config)
            .with("tokenizer.json", &json_of("tokenizer.json"))
    };
    let tokenizer = json_of("tokenizer.json");
    let vocab = tokenizer["model"]["vocab"].clone();
    let added = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": true,
            "special": false,
        })
    };
    let adding = |token: Value| {
        let mut tokenizer = tokenizer.clone();
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
        with_rows(801, &|_| {}).with("tokenizer.json", &tokenizer)
    };
    let cases = [
        (
            with(&|it| it["model"]["type"] = json!("WordPiece")),
            UnsupportedModel,
            "a WordPiece model",
        ),
        (with(&|it| it["model"]["vocab"] = json!([["a", -1.0]])), UnsupportedModel, "a BPE model"),
        (with(&|it| it["model"]["dropout"] = json!(0.1)), UnsupportedModel, "a dropout"),
        (with(&|it| it["model"]["byte_fallback"] = json!(true)), UnsupportedModel, "byte_fallback"),
        (
            with(&|it| it["model"]["end_of_word_suffix"] = json!("")),
            UnsupportedModel,
            "end_of_word_suffix",
        ),
        (with(&|it| it["normalizer"] = json!(null)), UnsupportedModel, "another normalizer"),
        (
            with(&|it| it["normalizer"]["normalizers"].as_array_mut().unwrap().truncate(2)),
            UnsupportedModel,
            "another normalizer",
        ),
        (
            with(&|it| it["pre_tokenizer"] = json!({"type": "Metaspace"})),
            UnsupportedModel,
            "another pre_tokenizer",
        ),
        (
            with(&|it| it["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = json!(true)),
            UnsupportedModel,
            "another pre_tokenizer",
        ),
        (with(&|it| it["model"]["merges"][3] = json!(7)), MalformedModel, "a merge"),
        (with(&|it| it["added_tokens"] = json!([{"id": 3}])), MalformedModel, "its added tokens"),
        (
            with(&|it| it["model"]["merges"][3] = json!(["a", "ß"])),
            MalformedModel,
            "its merge \"a ß\"",
        ),
        (adding(added(799, "")), MalformedModel, "cannot be added"),
        (adding(added(800, "<cat-toy>")), MalformedModel, "ids are not 0, 1, 2"),
        (adding(added(799, "red</w>")), MalformedModel, "\"red</w>\" has two ids"),
        (adding(added(798, "<cat-toy>")), MalformedModel, "ids are not 0, 1, 2"),
        (with_rows(798, &|_| {}), MalformedModel, "799 tokens where the configuration says 798"),
        (
            with_rows(799, &|it| it["eos_token_id"] = json!(797)),
            MalformedModel,
            "pooled at token 797",
        ),
        (
            // Nothing shows that this tokenizer belongs to the model.
            with_rows(1024, &|it| it["eos_token_id"] = json!(2)),
            MalformedModel,
            "799 tokens where the configuration says 1024",
        ),
        (
            with_rows(799, &|it| drop(it.as_object_mut().unwrap().remove("eos_token_id"))),
            MalformedModel,
            "pooled at token 49407",
        ),
        (
            with_rows(832, &|_| {}).with("tokenizer.json", &vocab),
            MalformedModel,
            "tokenizer.json beside its weights",
        ),
        (
            text_tower().with("config.json", &json!({"model_type": "chinese_clip"})),
            UnsupportedModel,
            "chinese_clip",
        ),
    ];
    for (checkpoint, kind, says) in &cases {
        let error = checkpoint.refused();
        assert_eq!(error.kind(), *kind, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
    let outcome = "each refused by name";
    record("inputs", "tokenizers that are not CLIP's", &cases.len().to_string(), outcome);
}

#[test]
fn the_pattern_of_older_files_is_clips_too() {
    let mut tokenizer = json_of("tokenizer.json");
    let pattern = &mut tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
    *pattern =
        json!(pattern.as_str().unwrap().split_once(r"\|>|'").map(|(_, rest)| format!("'{rest}")));
    assert_eq!(*pattern, r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+");
    let checkpoint = text_tower().with("tokenizer.json", &tokenizer);
    let encoder = ClipEncoder::open(checkpoint.gguf().unwrap()).unwrap();
    let words = ClipEncoder::open(text_tower().gguf().unwrap()).unwrap();
    assert_eq!(encoder.tokenize("it's 3 RED").unwrap(), words.tokenize("it's 3 RED").unwrap());
}
