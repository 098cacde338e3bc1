//! Writes a checkpoint of the real architecture with seeded weights, for tests and benchmarks where real
//! weights are not available.
//!
//!     cargo run --release --example seeded_model -- CONFIG LAYOUT TOKENIZER OUT
//!
//! CONFIG is `vit-b-32`, `tiny`, `tiny-h`, or of a SigLIP `siglip2-b-16` or one of the small ones; LAYOUT is `hf`, `hf-sharded`, `hf-f16`, `hf-bf16` or
//! `open_clip`, of a SigLIP `hf`; TOKENIZER a `tokenizer.json`. The activation of a CLIP is GELU.

#[path = "../tests/support/seeded.rs"]
mod seeded;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use seeded::{SeededTensor, Sizes};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, layout, tokenizer, out] = &arguments[..] else {
        return Err("usage: seeded_model CONFIG LAYOUT TOKENIZER OUT".into());
    };
    let out = Path::new(out);
    fs::create_dir_all(out)?;
    fs::copy(tokenizer, out.join("tokenizer.json"))?;
    let siglips = [("siglip2-b-16", seeded::SIGLIP2_B_16)].into_iter().chain(seeded::SIGLIPS);
    if let Some((_, sizes)) = siglips.into_iter().find(|(name, _)| name == config) {
        write(&seeded::siglip(&sizes), Dtype::F32, &out.join("model.safetensors"))?;
        let processor =
            json!({ "size": { "height": sizes.image, "width": sizes.image }, "resample": 2 });
        fs::write(out.join("preprocessor_config.json"), processor.to_string())?;
        let config = serde_json::to_string_pretty(&seeded::siglip_config(&sizes))?;
        return Ok(fs::write(out.join("config.json"), config)?);
    }
    let sizes = match config.as_str() {
        "vit-b-32" => seeded::VIT_B_32,
        "tiny" => seeded::TINY,
        "tiny-h" => seeded::TINY_H,
        other => return Err(format!("unknown configuration {other}").into()),
    };
    let tensors = seeded::model(&sizes);
    match layout.as_str() {
        "hf" => write(&tensors, Dtype::F32, &out.join("model.safetensors"))?,
        "hf-f16" => write(&tensors, Dtype::F16, &out.join("model.safetensors"))?,
        "hf-bf16" => write(&tensors, Dtype::BF16, &out.join("model.safetensors"))?,
        "hf-sharded" => write_shards(&tensors, out)?,
        "open_clip" => {
            write(&open_clip(tensors), Dtype::F32, &out.join("open_clip_model.safetensors"))?;
            let config = serde_json::to_string_pretty(&open_clip_config(&sizes))?;
            return Ok(fs::write(out.join("open_clip_config.json"), config)?);
        }
        other => return Err(format!("unknown layout {other}").into()),
    }
    Ok(fs::write(out.join("config.json"), serde_json::to_string_pretty(&hf_config(&sizes))?)?)
}

fn write(tensors: &[SeededTensor], dtype: Dtype, path: &Path) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| match dtype {
            Dtype::F16 => bytes(tensor, |x| f16::from_f32(x).to_le_bytes()),
            Dtype::BF16 => bytes(tensor, |x| bf16::from_f32(x).to_le_bytes()),
            _ => bytes(tensor, f32::to_le_bytes),
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        Ok((tensor.name.clone(), TensorView::new(dtype, tensor.shape.clone(), bytes)?))
    });
    let views: HashMap<String, TensorView> = views.collect::<Result<_, Box<dyn Error>>>()?;
    Ok(serialize_to_file(views, None, path)?)
}

fn bytes<const N: usize>(tensor: &SeededTensor, convert: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    tensor.values.iter().flat_map(|x| convert(*x)).collect()
}

fn write_shards(tensors: &[SeededTensor], out: &Path) -> Result<(), Box<dyn Error>> {
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = HashMap::new();
    for (number, shard) in [(1, first), (2, second)] {
        let file = format!("model-0000{number}-of-00002.safetensors");
        write(shard, Dtype::F32, &out.join(&file))?;
        map.extend(shard.iter().map(|tensor| (tensor.name.clone(), file.clone())));
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    Ok(fs::write(out.join("model.safetensors.index.json"), index.to_string())?)
}

fn hf_config(sizes: &Sizes) -> Value {
    json!({
        "model_type": "clip",
        "projection_dim": sizes.projection,
        "text_config": {
            "hidden_act": "gelu",
            "hidden_size": sizes.text.width,
            "intermediate_size": sizes.text.wide,
            "num_hidden_layers": sizes.text.layers,
            "num_attention_heads": sizes.text.heads,
            "max_position_embeddings": sizes.context,
            "vocab_size": sizes.vocabulary,
        },
        "vision_config": {
            "hidden_act": "gelu",
            "hidden_size": sizes.vision.width,
            "intermediate_size": sizes.vision.wide,
            "num_hidden_layers": sizes.vision.layers,
            "num_attention_heads": sizes.vision.heads,
            "image_size": sizes.image,
            "patch_size": sizes.patch,
        },
    })
}

fn open_clip_config(sizes: &Sizes) -> Value {
    json!({
        "model_cfg": {
            "embed_dim": sizes.projection,
            "vision_cfg": {
                "image_size": sizes.image,
                "layers": sizes.vision.layers,
                "width": sizes.vision.width,
                "head_width": sizes.vision.width / sizes.vision.heads,
                "mlp_ratio": sizes.vision.wide as f64 / sizes.vision.width as f64,
                "patch_size": sizes.patch,
            },
            "text_cfg": {
                "context_length": sizes.context,
                "vocab_size": sizes.vocabulary,
                "width": sizes.text.width,
                "heads": sizes.text.heads,
                "mlp_ratio": sizes.text.wide as f64 / sizes.text.width as f64,
                "layers": sizes.text.layers,
            },
        },
    })
}

/// The same model under open_clip's names: q, k and v stacked, both projections transposed.
fn open_clip(tensors: Vec<SeededTensor>) -> Vec<SeededTensor> {
    let mut list: Vec<SeededTensor> = Vec::new();
    for mut tensor in tensors {
        let name = &tensor.name;
        if let "text_projection.weight" | "visual_projection.weight" = name.as_str() {
            let text = name.starts_with("text");
            tensor = transposed(tensor);
            tensor.name = if text { "text_projection" } else { "visual.proj" }.into();
        } else if let Some((block, end)) = stacked(name) {
            let name = open_clip_name(&format!("{block}.in_proj_{end}"));
            if let Some(stack) = list.iter_mut().find(|stack| stack.name == name) {
                stack.shape[0] += tensor.shape[0];
                stack.values.extend(tensor.values);
                continue;
            }
            tensor.name = name;
        } else {
            tensor.name = open_clip_name(name);
        }
        list.push(tensor);
    }
    list
}

/// The block and the end of the name of a `q_proj`, `k_proj` or `v_proj`. Callers stack them as they come,
/// which is always q, k, v.
fn stacked(name: &str) -> Option<(&str, &str)> {
    ["q_proj", "k_proj", "v_proj"].iter().find_map(|part| name.split_once(&format!(".{part}.")))
}

fn open_clip_name(name: &str) -> String {
    let name = match name.strip_prefix("vision_model.") {
        Some(rest) => format!("visual.{rest}"),
        None => name.trim_start_matches("text_model.").into(),
    };
    [
        ("encoder.layers", "transformer.resblocks"),
        ("self_attn", "attn"),
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("embeddings.class_embedding", "class_embedding"),
        ("embeddings.patch_embedding", "conv1"),
        ("embeddings.token_embedding", "token_embedding"),
        ("pre_layrnorm", "ln_pre"),
        ("post_layernorm", "ln_post"),
        ("final_layer_norm", "ln_final"),
    ]
    .iter()
    .fold(name, |name, (from, to)| name.replace(from, to))
}

fn transposed(tensor: SeededTensor) -> SeededTensor {
    let [rows, columns] = tensor.shape[..] else { unreachable!("projections are matrices") };
    let values = (0..rows * columns).map(|i| tensor.values[i % rows * columns + i / rows]);
    SeededTensor { values: values.collect(), shape: vec![columns, rows], name: tensor.name }
}
