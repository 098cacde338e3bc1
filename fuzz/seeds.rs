//! Writes the inputs that fuzzing starts from, one folder per target: fixtures, Pillow's test images, and
//! small valid files.
//!
//!     python3 tests/support/fetch.py DATA
//!     cargo run --release --example fuzz_seeds -- DATA OUT

#[allow(dead_code)] // Only a part of it is used.
#[path = "../tests/support/small.rs"]
mod small;
#[allow(dead_code)]
#[path = "../tests/support/torch.rs"]
mod torch;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use clip_wasm::Limits;
use clip_wasm::format::gguf::Header;
use clip_wasm::model::clip::names::{Checkpoint, source};
use clip_wasm::model::config::ModelConfig;
use clip_wasm::model::inventory::Change;
use clip_wasm::model::metadata::from_gguf;
use clip_wasm::model::tensors::tensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;
use small::{Model, SIZES, Sizes, TOKENS};

type Outcome = Result<(), Box<dyn Error>>;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// Larger files slow the fuzzer down more than they help it.
const MOST_BYTES: u64 = 32 << 10;

fn main() -> Outcome {
    let mut folders = std::env::args().skip(1).map(PathBuf::from);
    let (data, out) = folders.next().zip(folders.next()).ok_or("usage: fuzz_seeds DATA OUT")?;
    images(&out.join("image"), &data.join("pillow"))?;
    models(&out.join("gguf"))?;
    recipes(&out.join("model"))?;
    checkpoints(&out.join("safetensors"))?;
    texts(&out.join("tokenizer"))?;
    vocabularies(&out.join("vocabulary"))?;
    siglips(&out.join("siglip"))
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Outcome {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// The last byte of a file selects how it is decoded, so each file is written with several last bytes.
fn images(folder: &Path, pillow: &Path) -> Outcome {
    let fixtures = Path::new(REPOSITORY).join("tests/fixtures/images");
    let mut files = vec![];
    for below in [&fixtures, pillow] {
        files_below(below, &mut files)?;
    }
    files.sort();
    for (place, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_copy = name.ends_with(".json") || name.ends_with(".expected.png");
        if is_copy || fs::metadata(file)?.len() > MOST_BYTES {
            continue;
        }
        let mut bytes = fs::read(file)?;
        bytes.push(place as u8);
        put(folder, &format!("{place}-{name}"), &bytes)?;
    }
    Ok(())
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn models(folder: &Path) -> Outcome {
    let tiny = Sizes { width: 4, wide: 8, heads: 2, projection: 3, image: 4, patch: 2, ..SIZES };
    put(folder, "f32", &Model::of(&tiny).bytes())?;
    put(folder, "f16", &Model::of(&tiny).stored_as(GgmlDType::F16).bytes())?;
    for dtype in [GgmlDType::Q4_0, GgmlDType::Q5_1, GgmlDType::Q8_0] {
        let name = format!("{dtype:?}").to_lowercase();
        put(folder, &name, &Model::of(&Sizes { wide: 32, ..SIZES }).stored_as(dtype).bytes())?;
    }
    Ok(())
}

/// The target turns any bytes into a model: these only have to be many and long enough.
fn recipes(folder: &Path) -> Outcome {
    let mut state = 1_u32;
    for (place, length) in (0..40).map(|n| (n, 60 + 25 * n)) {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect();
        put(folder, &place.to_string(), &bytes)?;
    }
    Ok(())
}

/// Checkpoints of both kinds, each with its configuration.
fn checkpoints(folder: &Path) -> Outcome {
    let sizes = Sizes { width: 4, wide: 8, heads: 2, projection: 3, image: 4, patch: 2, ..SIZES };
    let file = Model::of(&sizes).bytes();
    let config = from_gguf(
        &Header::parse(&file, &Limits::default())?.ok_or("a header is whole")?,
        &Limits::default(),
    )?;
    let vocab: serde_json::Map<_, _> =
        TOKENS.iter().zip(0..).map(|(token, id)| ((*token).into(), json!(id))).collect();
    let tower = json!({
        "hidden_size": sizes.width, "intermediate_size": sizes.wide,
        "num_attention_heads": sizes.heads, "num_hidden_layers": sizes.layers,
        "vocab_size": TOKENS.len(), "max_position_embeddings": sizes.context,
        "image_size": sizes.image, "patch_size": sizes.patch, "layer_norm_eps": 1e-5,
        "eos_token_id": TOKENS.len() - 1,
    });
    let hugging_face = json!({
        "model_type": "clip", "projection_dim": sizes.projection, "text_config": tower,
        "vision_config": tower, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "model": { "type": "BPE", "vocab": vocab, "merges": [["a", "b</w>"]] },
        "added_tokens": [{ "id": 4, "content": "ab</w>", "single_word": false, "lstrip": true,
            "rstrip": false, "normalized": true, "special": false }],
    });
    let alone = |model_type: &str| {
        let mut description = tower.clone();
        description["model_type"] = json!(model_type);
        description["projection_dim"] = json!(sizes.projection);
        description
    };
    let open_clip = json!({ "model_cfg": {
        "embed_dim": sizes.projection, "quick_gelu": true,
        "text_cfg": { "width": sizes.width, "layers": sizes.layers, "heads": sizes.heads,
            "mlp_ratio": 2.0, "vocab_size": TOKENS.len(), "context_length": sizes.context },
        "vision_cfg": { "width": sizes.width, "layers": sizes.layers, "head_width": 2,
            "mlp_ratio": 2.0, "image_size": sizes.image, "patch_size": sizes.patch },
    }});
    let kinds = [
        ("hf", Checkpoint::HuggingFace, hugging_face),
        ("vision", Checkpoint::HuggingFace, alone("clip_vision_model")),
        ("text", Checkpoint::HuggingFace, alone("clip_text_model")),
        ("open_clip", Checkpoint::OpenClip, open_clip),
    ];
    for (name, kind, description) in kinds {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let weights = checkpoint(&config, kind, dtype)?;
            // The last bytes select the type that is written, among other things.
            for how in 0..4_u8 {
                let end = [&weights[..], &[how; 8]].concat();
                let weights = if how == 0 { &weights } else { &end };
                let bytes = [description.to_string().as_bytes(), b"\n\n", weights].concat();
                put(folder, &format!("{name}-{dtype}-{how}"), &bytes)?;
            }
            let checkpoint = torch::Checkpoint::of(&weights);
            let old = torch::Checkpoint { by_number: false, ..checkpoint.clone() };
            for (order, weights) in [("new", checkpoint.bytes()), ("old", old.bytes())] {
                let bytes = [description.to_string().as_bytes(), b"\n\n", &weights].concat();
                put(folder, &format!("{name}-{dtype}-torch-{order}"), &bytes)?;
            }
        }
    }
    let fixtures = Path::new(REPOSITORY).join("tests/fixtures/torch");
    for file in ["state.bin", "before.bin", "training.bin", "module.bin", "script.pt", "legacy.bin"]
    {
        let bytes = [b"{}\n\n", &fs::read(fixtures.join(file))?[..]].concat();
        put(folder, &format!("torch-{file}"), &bytes)?;
    }
    Ok(())
}

fn checkpoint(
    config: &ModelConfig,
    kind: Checkpoint,
    dtype: Dtype,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut list: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for expected in tensors(config) {
        let source = source(kind, &expected.name);
        let mut shape = expected.shape;
        match source.change {
            Change::None => {}
            Change::Transpose => shape.reverse(),
            Change::Third(_) => shape[0] *= 3,
            Change::Half(_) => shape[0] *= 2,
            Change::Squeeze => shape.insert(0, 1),
        }
        let bytes = shape.iter().product::<usize>() * if dtype == Dtype::F32 { 4 } else { 2 };
        // In any type and at any offset, half of these bytes form numbers of about one.
        let values = (0..bytes).map(|at| if at % 2 == 1 { 0x3c } else { at as u8 }).collect();
        if !list.iter().any(|(name, ..)| *name == source.name) {
            list.push((source.name, shape, values));
        }
    }
    let scale = 4.6_f32.to_le_bytes().to_vec();
    list.push(("logit_scale".into(), vec![], scale));
    let views = list.iter().map(|(name, shape, values)| {
        let dtype = if name == "logit_scale" { Dtype::F32 } else { dtype };
        Ok((name.clone(), TensorView::new(dtype, shape.clone(), values)?))
    });
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize(views, None)?)
}

fn texts(folder: &Path) -> Outcome {
    let fixture = fs::read_to_string(Path::new(REPOSITORY).join("tests/fixtures/tokens.json"))?;
    let fixture: serde_json::Value = serde_json::from_str(&fixture)?;
    let cases = fixture["cases"].as_array().ok_or("there are cases")?;
    for (place, case) in cases.iter().enumerate() {
        put(folder, &place.to_string(), case["text"].as_str().unwrap_or_default().as_bytes())?;
    }
    Ok(())
}

fn vocabularies(folder: &Path) -> Outcome {
    let tokens = TOKENS.join("\n");
    for (name, merges, text) in [
        ("without merges", "", "ab b a"),
        ("with merges", "a b</w>", "ab b a"),
        ("with longer merges", "a b</w>\nab ab</w>", "abab <|endoftext|> a"),
    ] {
        for how in ["", "a", "b", "d", "e", "f"] {
            let input = format!("{tokens}\nab\nabab</w>\nĠ\n\u{e9}\n\n{merges}\n\n{text}{how}");
            put(folder, &format!("{name} {how}"), input.as_bytes())?;
        }
    }
    Ok(())
}

/// Tokenizers of both kinds, each with every text, in turns.
fn siglips(folder: &Path) -> Outcome {
    let fixtures = Path::new(REPOSITORY).join("tests/fixtures");
    let gemma = fs::read_to_string(fixtures.join("siglip/tokenizer.json"))?;
    let charsmap = base64::encode(fs::read(fixtures.join("siglip/charsmap.bin"))?);
    let unigram = |has_bytes: bool| {
        let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0)).filter(|_| has_bytes);
        let marks = ["<pad>", "</s>", "<unk>"].map(|mark| (mark.to_owned(), 0.0));
        let pieces = ["▁", "▁a", "a", "b", "ab", "ﬁ", "fi", "é", "▁photo", "<"];
        let pieces =
            pieces.into_iter().zip(2..).map(|(piece, at)| (piece.to_owned(), -0.7 * f64::from(at)));
        json!({
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Lowercase" }, { "type": "Precompiled", "precompiled_charsmap": charsmap },
            ]},
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁" },
            "model": {
                "type": "Unigram", "unk_id": 2, "byte_fallback": has_bytes,
                "vocab": marks.into_iter().chain(bytes).chain(pieces).collect::<Vec<_>>(),
            },
        })
    };
    let files = [gemma.trim().to_owned(), unigram(false).to_string(), unigram(true).to_string()];
    let texts = fs::read_to_string(fixtures.join("tokens.json"))?;
    let texts: serde_json::Value = serde_json::from_str(&texts)?;
    let cases = texts["cases"].as_array().ok_or("there are cases")?;
    for (place, (case, file)) in cases.iter().zip(files.iter().cycle()).enumerate() {
        let text = case["text"].as_str().unwrap_or_default();
        put(folder, &place.to_string(), format!("{file}\n\n{text}").as_bytes())?;
    }
    Ok(())
}
