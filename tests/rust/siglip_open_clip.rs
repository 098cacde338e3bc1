//! A SigLIP in open_clip's form, against the same weights in transformers' form.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::{ClipEncoder, ErrorKind, Limits, Result};
use serde_json::{Value, json};

use crate::support::fixture;
use crate::support::seeded::{self, SIGLIP2_B_16, Sizes, Tower};

/// timm's smallest tower is a B; the text tower need not be.
fn sizes() -> Sizes {
    let text = Tower { layers: 1, ..SIGLIP2_B_16.text };
    Sizes { text, vocabulary: 363, image: 64, patch: 32, ..SIGLIP2_B_16 }
}

fn open_clip_config() -> Value {
    json!({
        "model_cfg": {
            "embed_dim": 768, "init_logit_bias": -10, "custom_text": true,
            "vision_cfg": {
                "image_size": 64, "timm_model_name": "vit_base_patch32_siglip_256",
                "timm_model_pretrained": false, "timm_pool": "map", "timm_proj": "none",
            },
            "text_cfg": {
                "context_length": 64, "vocab_size": 363, "hf_tokenizer_name": "timm/ViT-B-32-SigLIP2-256",
                "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 768, "heads": 12, "layers": 1,
                "no_causal_mask": true, "proj_bias": true, "pool_type": "last",
                "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    })
}

/// The names and forms of open_clip.
fn open_clip(tensors: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let mut out = HashMap::new();
    for (name, tensor) in tensors {
        let name = [
            ("vision_model.encoder.layers", "visual.trunk.blocks"),
            ("vision_model.embeddings.patch_embedding", "visual.trunk.patch_embed.proj"),
            ("vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed"),
            ("vision_model.post_layernorm", "visual.trunk.norm"),
            ("vision_model.head.probe", "visual.trunk.attn_pool.latent"),
            ("vision_model.head.attention.out_proj", "visual.trunk.attn_pool.proj"),
            ("vision_model.head.layernorm", "visual.trunk.attn_pool.norm"),
            ("vision_model.head", "visual.trunk.attn_pool"),
            ("text_model.encoder.layers", "text.transformer.resblocks"),
            ("text_model.embeddings.token_embedding", "text.token_embedding"),
            ("text_model.embeddings.position_embedding.weight", "text.positional_embedding"),
            ("text_model.final_layer_norm", "text.ln_final"),
            ("text_model.head", "text.text_projection"),
        ]
        .iter()
        .fold(name.clone(), |name, (from, to)| name.replace(from, to));
        let parts = if name.starts_with("text.") {
            [("layer_norm", "ln_"), ("self_attn", "attn"), ("fc1", "c_fc"), ("fc2", "c_proj")]
        } else {
            [
                ("layer_norm", "norm"),
                ("self_attn.out_proj", "attn.proj"),
                ("self_attn", "attn"),
                ("", ""),
            ]
        };
        let name = parts.iter().fold(name, |name, (from, to)| match from.is_empty() {
            true => name,
            false => name.replace(from, to),
        });
        let rows = |from: usize, count: usize| {
            tensor.narrow(0, from, count).unwrap().force_contiguous().unwrap()
        };
        if name.contains(".k_proj.") || name.contains(".v_proj.") {
            continue;
        } else if let Some((block, end)) = name.split_once(".q_proj.") {
            let of = |part: &str| {
                let (tower, rest) = if block.starts_with("text.") {
                    ("text_model", block.strip_prefix("text.transformer.resblocks."))
                } else {
                    ("vision_model", block.strip_prefix("visual.trunk.blocks."))
                };
                let layer = rest.unwrap().trim_end_matches(".attn");
                tensors[&format!("{tower}.encoder.layers.{layer}.self_attn.{part}.{end}")].clone()
            };
            let stacked = Tensor::cat(&[of("q_proj"), of("k_proj"), of("v_proj")], 0).unwrap();
            let name = match block.starts_with("text.") {
                true => format!("{block}.in_proj_{end}"),
                false => format!("{block}.qkv.{end}"),
            };
            out.insert(name, stacked);
        } else if let Some((head, end)) = name.split_once(".attention.in_proj_") {
            let width = tensor.dim(0).unwrap() / 3;
            out.insert(format!("{head}.q.{end}"), rows(0, width));
            out.insert(format!("{head}.kv.{end}"), rows(width, 2 * width));
        } else if name == "visual.trunk.pos_embed" {
            out.insert(name, tensor.unsqueeze(0).unwrap());
        } else {
            out.insert(name, tensor.clone());
        }
    }
    out
}

fn converted(folder: &Path) -> Result<Vec<u8>> {
    std::fs::copy(fixture("siglip/tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    let to = folder.join("out.gguf");
    let file_type = FileType::named("q8_0").unwrap();
    convert(folder, &to, file_type, None, &Limits::default(), |_, _| {})?;
    Ok(std::fs::read(to).unwrap())
}

#[test]
fn open_clips_form_has_the_weights_of_transformers_form() {
    let tensors: HashMap<String, Tensor> = seeded::siglip(&sizes())
        .into_iter()
        .map(|tensor| {
            let values = Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu).unwrap();
            (tensor.name, values)
        })
        .collect();
    let (whole, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |name: &str, json: Value| std::fs::write(name, json.to_string()).unwrap();
    let path = |folder: &tempfile::TempDir, name: &str| folder.path().join(name);
    candle_core::safetensors::save(&tensors, path(&whole, "model.safetensors")).unwrap();
    write(path(&whole, "config.json").to_str().unwrap(), seeded::siglip_config(&sizes()));
    let processor = json!({"size": {"height": 64, "width": 64}, "resample": 3});
    write(path(&whole, "preprocessor_config.json").to_str().unwrap(), processor);
    let wanted = converted(whole.path()).unwrap();

    let renamed = open_clip(&tensors);
    drop(tensors);
    candle_core::safetensors::save(&renamed, path(&other, "open_clip_model.safetensors")).unwrap();
    drop(renamed);
    let config = path(&other, "open_clip_config.json");
    write(config.to_str().unwrap(), open_clip_config());
    let found = converted(other.path()).unwrap();
    // The headers differ, in what is done to a text.
    let weights = |file: &[u8]| file[file.len() - (90 << 20)..].to_vec();
    assert!(weights(&found) == weights(&wanted));

    let open = |folder| ClipEncoder::open(path(folder, "out.gguf")).unwrap();
    let (clip, plain) = (open(&other), open(&whole));
    assert_eq!(clip.info().family, "siglip");
    let ids = |encoder: &ClipEncoder, text: &str| encoder.tokenize(text).unwrap();
    assert_eq!(ids(&clip, "A photo, of_a \t cat!"), ids(&plain, "a photo of a cat"));
    assert_ne!(ids(&plain, "a photo, of_a cat!"), ids(&plain, "a photo of a cat"));
    let image = crate::support::photo("rocket.jpg");
    assert_eq!(clip.embed_image(&image, true).unwrap(), plain.embed_image(&image, true).unwrap());

    for (place, key, value, says) in [
        ("vision_cfg", "timm_model_name", json!("vit_base_patch32_clip_224"), "vit_base_patch32"),
        ("vision_cfg", "timm_pool", json!("avg"), "timm_pool"),
        ("text_cfg", "no_causal_mask", json!(false), "no_causal_mask"),
        ("text_cfg", "pool_type", json!("argmax"), "pool_type"),
        ("text_cfg", "hf_model_name", json!("xlm-roberta-base"), "hf_model_name"),
        ("text_cfg", "tokenizer_kwargs", json!({"clean": "lower"}), "tokenizer_kwargs"),
        ("text_cfg", "norm_kwargs", json!({"eps": 1e-5}), "norm_kwargs"),
        ("vision_cfg", "timm_model_name", json!("vit_large_patch32_siglip_256"), "768"),
    ] {
        let mut changed = open_clip_config();
        changed["model_cfg"][place][key] = value;
        write(config.to_str().unwrap(), changed);
        let error = converted(other.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedModel, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let mut changed = open_clip_config();
    changed["model_cfg"]["text_cfg"].as_object_mut().unwrap().remove("no_causal_mask");
    write(config.to_str().unwrap(), changed);
    assert!(converted(other.path()).unwrap_err().to_string().contains("no_causal_mask"));
}
