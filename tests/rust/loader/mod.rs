//! Invalid model files, each refused with its kind of error, and valid files in chunks of every size.

mod refusing;

use crate::support::data;
use crate::support::reliability::record;
use crate::support::small::{Model, SIZES, Sizes, TOKENS};
use candle_core::quantized::GgmlDType;
use clip_wasm::format::gguf::{Header, TensorInfo, Value};
use clip_wasm::model::metadata::from_gguf;
use clip_wasm::{ClipEncoder, ErrorKind, Limits, ModelLoader, Result, Tower};

fn load(bytes: &[u8], chunk: usize) -> Result<ClipEncoder> {
    let mut loader = ModelLoader::new();
    for chunk in bytes.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.finish()
}

fn refused(label: &str, bytes: &[u8], kind: ErrorKind, says: &str) {
    for chunk in [bytes.len().max(1), 7] {
        match load(bytes, chunk) {
            Ok(_) => panic!("{label}: loaded"),
            Err(error) => {
                assert_eq!(error.kind(), kind, "{label}: {error}");
                let message = error.to_string();
                assert!(message.contains(says), "{label}: {message:?} does not say {says:?}");
            }
        }
    }
}

fn note(what: &str, count: usize, outcome: &str) {
    record("inputs", what, &count.to_string(), outcome);
}

#[test]
fn a_whole_model_loads_in_chunks_of_any_size() {
    let bytes = Model::new().bytes();
    let want = load(&bytes, bytes.len()).unwrap().embed_text("ab b", true).unwrap();
    for chunk in [1, 3, 31, 32, 33, 1000, 4096] {
        let encoder = load(&bytes, chunk).unwrap_or_else(|error| panic!("{chunk}: {error}"));
        assert_eq!(encoder.embed_text("ab b", true).unwrap(), want, "chunks of {chunk}");
    }
}

/// The loader parses a growing header only now and then, so it may be complete only at the file's end.
#[test]
fn a_file_that_is_nearly_all_header_loads_in_chunks_of_any_size() {
    let sizes = Sizes { width: 2, wide: 2, heads: 1, projection: 1, image: 2, patch: 2, ..SIZES };
    let bytes = Model::of(&sizes).bytes();
    assert!(tensor_bytes(&bytes) < bytes.len() / 2, "{} of {}", tensor_bytes(&bytes), bytes.len());
    for chunk in 1..200 {
        load(&bytes, chunk).unwrap_or_else(|error| panic!("chunks of {chunk}: {error}"));
    }
    let mut twice = Model::of(&sizes);
    twice.tensors[1].name = twice.tensors[0].name.clone();
    refused("a name twice", &twice.bytes(), ErrorKind::MalformedModel, "twice");
}

#[test]
fn one_tower_alone_loads_and_says_what_it_cannot_do() {
    let mut text = Model::new().set("clip.has_vision_encoder", Value::Bool(false));
    text.tensors.retain(|tensor| tensor.name.starts_with('t'));
    let text = load(&text.bytes(), 4096).unwrap();
    assert!(text.embed_text("a", true).is_ok());
    let error = text.embed_image(b"", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingTower);
    assert_eq!(text.info().towers, ["text"]);

    let mut vision = Model::new().set("clip.has_text_encoder", Value::Bool(false));
    vision.tensors.retain(|tensor| tensor.name.starts_with('v'));
    let vision = load(&vision.without("tokenizer.ggml.tokens").bytes(), 4096).unwrap();
    assert_eq!(vision.embed_text("a", true).unwrap_err().kind(), ErrorKind::MissingTower);
    assert_eq!(vision.info().towers, ["vision"]);
}

/// Loads one tower from the bytes that the loader asks for; the rest of the file is overwritten.
fn load_tower(bytes: &[u8], tower: Tower) -> ClipEncoder {
    let mut loader = ModelLoader::of_towers(&[tower]);
    let header = bytes.len() - tensor_bytes(bytes);
    loader.push(&bytes[..header]).unwrap();
    let wanted = loader.wanted(None).expect("the header has come");
    assert_eq!(loader.file_size(), Some(bytes.len() as u64));
    let mut tensors = vec![0xff; bytes.len()];
    for range in &wanted {
        let range = range.start as usize..range.end as usize;
        tensors[range.clone()].copy_from_slice(&bytes[range]);
    }
    // The last part is pushed first: any order must work.
    for range in wanted.iter().rev() {
        loader.seek(range.start);
        for chunk in tensors[range.start as usize..range.end as usize].chunks(1000) {
            loader.push(chunk).unwrap();
        }
    }
    assert_eq!(loader.wanted(None), Some(Vec::new()));
    loader.finish().unwrap()
}

fn tensor_bytes(bytes: &[u8]) -> usize {
    let header = Header::parse(bytes, &Limits::default()).unwrap().unwrap();
    bytes.len() - header.tensors[0].offset as usize
}

#[test]
fn towers_load_one_after_the_other_from_their_own_bytes() {
    let path = data("tiny-gelu.q8_0.gguf");
    let whole = ClipEncoder::open(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut encoder = load_tower(&bytes, Tower::Text);
    assert_eq!(encoder.info().towers, ["text"]);
    let text = whole.embed_text("a dog", true).unwrap();
    assert_eq!(encoder.embed_text("a dog", true).unwrap(), text);
    let image = include_bytes!("../../browser/fixtures/cat.png");
    assert_eq!(encoder.embed_image(image, true).unwrap_err().kind(), ErrorKind::MissingTower);

    encoder.add(load_tower(&bytes, Tower::Vision)).unwrap();
    assert_eq!(encoder.info().towers, ["text", "vision"]);
    assert_eq!(encoder.embed_text("a dog", true).unwrap(), text);
    let want = whole.embed_image(image, true).unwrap();
    assert_eq!(encoder.embed_image(image, true).unwrap(), want);
}

#[test]
fn a_tower_is_given_before_the_other_has_come() {
    let bytes = Model::new().bytes();
    let whole = load(&bytes, bytes.len()).unwrap();
    let mut loader = ModelLoader::new();
    loader.push(&bytes[..bytes.len() - tensor_bytes(&bytes)]).unwrap();
    assert_eq!(loader.towers(), Some(vec![Tower::Text, Tower::Vision]));
    let error = loader.finish_tower(Tower::Text).err().expect("nothing has come");
    assert_eq!(error.kind(), ErrorKind::TruncatedModel);

    let push = |loader: &mut ModelLoader, tower| {
        for range in loader.wanted(Some(tower)).unwrap() {
            loader.seek(range.start);
            loader.push(&bytes[range.start as usize..range.end as usize]).unwrap();
        }
    };
    push(&mut loader, Tower::Text);
    let mut encoder = loader.finish_tower(Tower::Text).unwrap();
    let want = whole.embed_text("ab b", true).unwrap();
    assert_eq!(encoder.embed_text("ab b", true).unwrap(), want);
    let error = loader.finish_tower(Tower::Text).err().expect("it has been given");
    assert_eq!(error.kind(), ErrorKind::MissingTower);

    push(&mut loader, Tower::Vision);
    encoder.add(loader.finish().unwrap()).unwrap();
    assert_eq!(encoder.info().towers, ["text", "vision"]);
}

#[test]
fn a_tower_that_the_file_has_not_got_is_refused_with_its_header() {
    let mut text = Model::new().set("clip.has_vision_encoder", Value::Bool(false));
    text.tensors.retain(|tensor| tensor.name.starts_with('t'));
    let bytes = text.bytes();
    let mut loader = ModelLoader::of_towers(&[Tower::Vision]);
    let error = loader.push(&bytes[..bytes.len() - tensor_bytes(&bytes)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingTower);
}

#[test]
fn towers_of_two_models_are_not_put_together() {
    let mut tiny = load(&Model::new().bytes(), 4096).unwrap();
    let other = ClipEncoder::open(data("tiny-gelu.q8_0.gguf")).unwrap();
    assert_eq!(tiny.add(other).unwrap_err().kind(), ErrorKind::MalformedModel);
}

#[test]
fn bytes_out_of_order_are_not_taken_for_others() {
    let bytes = Model::new().bytes();
    let mut loader = ModelLoader::new();
    let half = bytes.len() - tensor_bytes(&bytes) / 2;
    loader.push(&bytes[..half]).unwrap();
    loader.seek(half as u64 + 4);
    assert_eq!(loader.push(&bytes[half + 4..]).unwrap_err().kind(), ErrorKind::Internal);
}

/// clip.cpp calls the expanding layer "down"; files with llama.cpp's names must load the same.
#[test]
fn mlp_layers_are_told_apart_by_shape() {
    let want = load(&Model::new().bytes(), 4096).unwrap().embed_text("ab", true).unwrap();
    let mut swapped = Model::new();
    for tensor in &mut swapped.tensors {
        tensor.name = match tensor.name.as_str() {
            name if name.contains("ffn_down") => name.replace("ffn_down", "ffn_up"),
            name => name.replace("ffn_up", "ffn_down"),
        };
    }
    let got = load(&swapped.bytes(), 4096).unwrap().embed_text("ab", true).unwrap();
    assert_eq!(got, want);
}

const ADDED_TOKENS: &str = "tokenizer.huggingface.added_tokens";

/// The model's own tokens, then `more`.
fn tokens(more: &[&str]) -> Value {
    let all = TOKENS.iter().chain(more);
    Value::Array(all.map(|token| Value::String((*token).into())).collect())
}

/// A list of one added token, which is matched anywhere.
fn added(id: u32, content: &str) -> String {
    let flags = r#""single_word": false, "lstrip": false, "rstrip": false, "normalized": true"#;
    format!(r#"[{{"id": {id}, "content": "{content}", {flags}, "special": false}}]"#)
}

fn adding(list: &str) -> Vec<u8> {
    Model::new().set(ADDED_TOKENS, Value::String(list.into())).bytes()
}

#[test]
fn added_tokens_are_found_and_rows_without_a_token_are_left_alone() {
    let rows = |model: Model, rows: usize| {
        let grow = |tensor: &mut TensorInfo| {
            tensor.shape[0] = rows;
            tensor.size = (4 * rows * SIZES.width) as u64;
        };
        model.tensor("t.token_embd.weight", grow).bytes()
    };
    let ids = |bytes: &[u8], text: &str| {
        load(bytes, bytes.len()).unwrap().tokenize(text).unwrap().ids().to_vec()
    };
    let padded = rows(Model::new(), 12);
    assert_eq!(ids(&padded, "ab <c>b"), ids(&Model::new().bytes(), "ab <c>b"));
    let model = Model::new().set("tokenizer.ggml.tokens", tokens(&["<c>"]));
    let model = model.set(ADDED_TOKENS, Value::String(added(7, "<c>")));
    let bytes = rows(model, 12);
    assert_eq!(ids(&bytes, "ab <c>b"), [5, 4, 7, 3, 6]);
    assert_eq!(ids(&bytes, "a<C>"), [5, 2, 7, 6]);
    let pooled = |name: &str| {
        let value = Value::String(name.into());
        let mut model = Model::new().set("tokenizer.ggml.tokens", tokens(&["<c>"]));
        model = model.set(ADDED_TOKENS, Value::String(added(7, "<c>")));
        rows(model.set("clip.text.pool_type", value), 12)
    };
    let at = |name: &str| {
        let bytes = pooled(name);
        load(&bytes, bytes.len()).unwrap().tokenize("a <c> <c> b").unwrap().pooled()
    };
    assert_eq!((at("eos"), at("argmax")), (5, 2));
    refused("pooling", &pooled("last"), ErrorKind::UnsupportedModel, "clip.text.pool_type is last");
}

#[test]
fn a_converted_file_is_laid_out_as_clip_cpp_lays_it() {
    let bytes = std::fs::read(data("tiny-gelu.q8_0.gguf")).unwrap();
    let header = Header::parse(&bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(header.file_size().next_multiple_of(32), bytes.len() as u64);
    let config = from_gguf(&header, &Limits::default()).unwrap();
    assert_eq!(config.projection_dim, 64);
    assert!(matches!(header.get("general.file_type"), Some(Value::U32(8))));
    let dtype = |name: &str| header.tensors.iter().find(|t| t.name == name).unwrap().dtype;
    for (name, want) in [
        ("t.token_embd.weight", GgmlDType::Q8_0),
        ("t.position_embd.weight", GgmlDType::Q8_0),
        ("v.position_embd.weight", GgmlDType::Q8_0),
        ("visual_projection.weight", GgmlDType::Q8_0),
        ("v.patch_embd.weight", GgmlDType::F16),
        ("v.class_embd", GgmlDType::F32),
        ("v.blk.1.ln2.bias", GgmlDType::F32),
        ("v.blk.1.attn_out.bias", GgmlDType::F32),
    ] {
        assert_eq!(dtype(name), want, "{name}");
    }
}
