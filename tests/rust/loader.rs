//! Invalid model files, each refused with its kind of error, and valid files in chunks of every size.

use crate::support::data;
use crate::support::reliability::record;
use crate::support::small::{Model, SIZES, Sizes, TOKENS};
use candle_core::quantized::GgmlDType;
use clip_wasm::format::gguf::{Header, TensorInfo, Value};
use clip_wasm::model::clip::config::ClipConfig;
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
    let image = include_bytes!("../browser/fixtures/cat.png");
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

#[test]
fn files_of_other_kinds_are_named() {
    let files = [
        ("empty", &b""[..], ErrorKind::NotAModel, "empty"),
        ("page", b"<!DOCTYPE html><html><head>", ErrorKind::NotAModel, "web page"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1", ErrorKind::NotAModel, "LFS"),
        ("text", b"Entry not found, sorry", ErrorKind::NotAModel, "not a GGUF"),
        ("zip", b"PK\x03\x04aaaaaaaaaaaaaaaa", ErrorKind::UnsupportedModel, "PyTorch"),
        (
            "safetensors",
            b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\"",
            ErrorKind::UnsupportedModel,
            "convert",
        ),
        ("onnx", b"\x08\x07\x12\x07pytorch\x1a\x05", ErrorKind::UnsupportedModel, "ONNX"),
        ("version", b"GGUF\x09\0\0\0aaaaaaaaaaaa", ErrorKind::UnsupportedModel, "version 9"),
    ];
    for (label, bytes, kind, says) in files {
        refused(label, bytes, kind, says);
    }
    note("files of other kinds, for a model", files.len(), "each named");
}

#[test]
fn models_that_are_no_plain_clip_are_named() {
    let string = |value: &str| Value::String(value.into());
    let models = [
        (Model::new().set("general.architecture", string("llama")), "llama"),
        (Model::new().set("general.name", string("ViT-B-16-SigLIP")), "SigLIP"),
        (Model::new().set("general.architecture", string("mobileclip")), "MobileCLIP"),
        (Model::new().set("clip.projector_type", string("mlp")), "mmproj"),
        (Model::new().without("visual_projection.weight"), "mmproj"),
    ];
    let count = models.len();
    for (model, says) in models {
        refused(says, &model.bytes(), ErrorKind::UnsupportedModel, says);
    }
    note("models that are no plain CLIP", count, "each refused as unsupported_model, by its name");
}

#[test]
fn a_missing_tensor_is_named() {
    for name in ["v.blk.0.attn_k.bias", "t.blk.0.ffn_up.weight", "v.class_embd"] {
        refused(name, &Model::new().without(name).bytes(), ErrorKind::MissingTensor, name);
    }
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
fn contradictions_are_refused() {
    let number = |key: &str, value: u32| Model::new().set(key, Value::U32(value)).bytes();
    let shape = |name: &str, shape: &'static [usize]| {
        Model::new().tensor(name, |tensor| tensor.shape = shape.to_vec()).bytes()
    };
    let files = [
        ("no layers", number("clip.text.block_count", 0)),
        ("heads", number("clip.vision.attention.head_count", 5)),
        ("patch", number("clip.vision.patch_size", 0)),
        ("patch larger than the image", number("clip.vision.patch_size", 9)),
        ("image", number("clip.vision.image_size", 16)),
        ("width", number("clip.vision.embedding_length", 64)),
        ("context", number("clip.text.context_length", 77)),
        ("alignment", number("general.alignment", 33)),
        ("no width", Model::new().without("clip.text.embedding_length").bytes()),
        (
            "a word for a number",
            Model::new().set("clip.text.block_count", Value::Bool(true)).bytes(),
        ),
        ("no vocabulary", Model::new().without("tokenizer.ggml.tokens").bytes()),
        (
            "more tokens than rows",
            Model::new().set("tokenizer.ggml.tokens", tokens(&["c"])).bytes(),
        ),
        ("added tokens that are no text", number(ADDED_TOKENS, 7)),
        ("added tokens that are no JSON", adding("[")),
        ("an added token without flags", adding(r#"[{"id": 4, "content": "ab</w>"}]"#)),
        ("an added token that is none", adding(&added(7, "<c>"))),
        ("an added token with another's id", adding(&added(3, "ab</w>"))),
        ("an added token with another's text", adding(&added(4, "b</w>"))),
        ("transposed", shape("text_projection.weight", &[32, 16])),
        ("wrong shape", shape("v.blk.0.attn_q.weight", &[16, 64])),
        ("wrong rank", shape("v.patch_embd.weight", &[32, 48])),
    ];
    for (label, bytes) in &files {
        refused(label, bytes, ErrorKind::MalformedModel, "");
    }
    note("model files that contradict themselves", files.len(), "each refused as malformed_model");
}

/// Writes offsets, counts and lengths into the bytes of a valid file.
#[test]
fn a_header_that_lies_is_refused_before_it_is_believed() {
    let sound = Model::new().bytes();
    let find = |what: &[u8]| sound.windows(what.len()).position(|at| at == what).unwrap();
    let name = find(b"v.blk.0.attn_q.weight") + "v.blk.0.attn_q.weight".len();
    let tokens = find(b"tokenizer.ggml.tokens") + "tokenizer.ggml.tokens".len();
    let lies = [
        ("tensors", 8, u64::MAX),
        ("metadata", 16, 1 << 60),
        ("a key's length", 24, 1 << 40),
        ("a dimension", name + 4, u64::MAX),
        ("a dimension of zero", name + 4, 0),
        ("dimensions whose product overflows", name + 4, 1 << 31),
        ("an offset beyond everything", name + 24, u64::MAX - 31),
        ("an offset into another tensor", name + 24, 0),
        ("an offset that is not aligned", name + 24, 33),
        ("an array's length", tokens + 8, 1 << 50),
    ];
    for (label, at, lie) in lies {
        let mut bytes = sound.clone();
        bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
        refused(label, &bytes, ErrorKind::MalformedModel, "damaged");
    }
    let mut bytes = sound.clone();
    bytes[name..name + 4].copy_from_slice(&9u32.to_le_bytes());
    refused("nine dimensions", &bytes, ErrorKind::MalformedModel, "9 dimensions");
    let mut bytes = sound;
    bytes[name + 20..name + 24].copy_from_slice(&99u32.to_le_bytes());
    refused("a type", &bytes, ErrorKind::UnsupportedModel, "99");
    let outcome = "each refused before anything is allocated by it";
    note("counts, lengths and offsets that lie, in a GGUF header", lies.len() + 2, outcome);
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let bytes = Model::new().bytes();
    let last = bytes.len() - 32;
    let lengths = [5, 24, 100, 2000, bytes.len() / 2, last];
    for length in lengths {
        refused("cut", &bytes[..length], ErrorKind::TruncatedModel, "download it again");
    }
    note("model files cut short", lengths.len(), "each refused as truncated_model");
}

/// Whatever a changed byte of the header means, the loader returns without a panic or a large allocation.
#[test]
fn flipped_bytes_never_panic() {
    let sound = Model::new().bytes();
    let header = Header::parse(&sound, &Limits::default()).unwrap().unwrap();
    let end = header.tensors[0].offset as usize;
    let flips = [1, 0x80, 0xff];
    for at in 0..end {
        for flip in flips {
            let mut bytes = sound.clone();
            bytes[at] ^= flip;
            if let Ok(encoder) = load(&bytes, bytes.len()) {
                let _ = encoder.embed_text("ab", true);
            }
        }
    }
    note("GGUF headers with one byte changed", end * flips.len(), "each answered, without a panic");
}

#[test]
fn weights_that_are_not_numbers_give_an_error() {
    let mut bytes = Model::new().bytes();
    let header = Header::parse(&bytes, &Limits::default()).unwrap().unwrap();
    let projection = header.tensors.iter().find(|t| t.name == "text_projection.weight").unwrap();
    for chunk in bytes[projection.offset as usize..][..projection.size as usize].chunks_mut(4) {
        chunk.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    let error = load(&bytes, 4096).unwrap().embed_text("ab", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel);
}

#[test]
fn a_converted_file_is_laid_out_as_clip_cpp_lays_it() {
    let bytes = std::fs::read(data("tiny-gelu.q8_0.gguf")).unwrap();
    let header = Header::parse(&bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(header.file_size().next_multiple_of(32), bytes.len() as u64);
    let config = ClipConfig::from_gguf(&header, &Limits::default()).unwrap();
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
