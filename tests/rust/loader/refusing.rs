//! What is refused, and by which name.

use super::*;

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
