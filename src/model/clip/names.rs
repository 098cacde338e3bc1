//! The tensors of a CLIP model, and their names in each kind of file.
//!
//! The canonical names are those of clip.cpp's GGUF files, because that is the form the towers load.

use crate::format::gguf::TensorInfo;
use crate::model::config::ModelConfig;
use crate::model::inventory::{Change, Expected, FC1, FC2, List, Source, hugging_face_part};

/// Every tensor of a model, text first, in the order of computation.
pub fn tensors(config: &ModelConfig) -> Vec<Expected> {
    let mut list = List::default();
    if let Some(text) = &config.text {
        let width = text.sizes.width;
        list.table("t.token_embd.weight", [text.vocabulary, width]);
        list.plain("t.position_embd.weight", &[text.context, width]);
    }
    if let Some(vision) = &config.vision {
        let (patch, width) = (vision.patch_size, vision.sizes.width);
        list.plain("v.class_embd", &[width]);
        list.plain("v.patch_embd.weight", &[width, 3, patch, patch]);
        list.plain("v.position_embd.weight", &[vision.grid() * vision.grid() + 1, width]);
        list.norm("v.pre_ln", width);
    }
    let text = config.text.as_ref().map(|text| ("t", "text_projection", text.sizes));
    let vision = config.vision.as_ref().map(|vision| ("v", "visual_projection", vision.sizes));
    for (tower, projection, sizes) in text.into_iter().chain(vision) {
        list.blocks(tower, &sizes);
        list.norm(&format!("{tower}.post_ln"), sizes.width);
        list.linear(projection, [config.projection_dim, sizes.width]);
    }
    list.tensors
}

/// Swaps the names of the two MLP layers if the file uses llama.cpp's names; the shapes show which.
pub fn rename_mlp_layers(config: &ModelConfig, tensors: &mut [TensorInfo]) {
    let text = config.text.as_ref().map(|text| ("t.", text.sizes));
    let vision = config.vision.as_ref().map(|vision| ("v.", vision.sizes));
    for (tower, sizes) in text.into_iter().chain(vision) {
        let fc1 = [sizes.feed_forward, sizes.width];
        let reversed = tensors.iter().any(|tensor| {
            tensor.name.starts_with(tower)
                && tensor.name.ends_with("ffn_up.weight")
                && tensor.shape == fc1
                && sizes.width != sizes.feed_forward
        });
        if !reversed {
            continue;
        }
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name.starts_with(tower)) {
            tensor.name = match tensor.name.rsplit_once(".ffn_") {
                Some((block, rest)) if rest.starts_with("up.") => {
                    format!("{block}.{FC1}.{}", &rest[3..])
                }
                Some((block, rest)) if rest.starts_with("down.") => {
                    format!("{block}.{FC2}.{}", &rest[5..])
                }
                _ => continue,
            };
        }
    }
}

/// The two kinds of checkpoint of a CLIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Hugging Face transformers' `CLIPModel`.
    HuggingFace,
    /// open_clip's and OpenAI's.
    OpenClip,
}

/// The source of a canonical tensor in a checkpoint.
pub fn source(checkpoint: Checkpoint, canonical: &str) -> Source {
    match checkpoint {
        Checkpoint::HuggingFace => {
            Source { name: hugging_face_name(canonical), change: Change::None }
        }
        Checkpoint::OpenClip => open_clip_source(canonical),
    }
}

fn hugging_face_name(canonical: &str) -> String {
    let Some((tower, rest)) = split_tower(canonical) else { return canonical.into() };
    let tower = if tower == "t" { "text_model" } else { "vision_model" };
    if let Some((layer, part)) = split_layer(rest) {
        let part = hugging_face_part(part);
        return format!("{tower}.encoder.layers.{layer}.{part}");
    }
    let rest = match (tower, rest) {
        (_, "token_embd.weight") => "embeddings.token_embedding.weight".into(),
        (_, "position_embd.weight") => "embeddings.position_embedding.weight".into(),
        (_, "class_embd") => "embeddings.class_embedding".into(),
        (_, "patch_embd.weight") => "embeddings.patch_embedding.weight".into(),
        // Misspelt in transformers, and so in every checkpoint.
        (_, rest) if rest.starts_with("pre_ln.") => rest.replace("pre_ln", "pre_layrnorm"),
        ("text_model", rest) => rest.replace("post_ln", "final_layer_norm"),
        (_, rest) => rest.replace("post_ln", "post_layernorm"),
    };
    format!("{tower}.{rest}")
}

fn open_clip_source(canonical: &str) -> Source {
    let plain = |name: String| Source { name, change: Change::None };
    let transposed = |name: &str| Source { name: name.into(), change: Change::Transpose };
    let Some((tower, rest)) = split_tower(canonical) else {
        return match canonical {
            "text_projection.weight" => transposed("text_projection"),
            "visual_projection.weight" => transposed("visual.proj"),
            other => plain(other.into()),
        };
    };
    let prefix = if tower == "t" { "" } else { "visual." };
    if let Some((layer, part)) = split_layer(rest) {
        let block = format!("{prefix}transformer.resblocks.{layer}");
        let (part, end) = part.rsplit_once('.').unwrap_or((part, ""));
        let third = ["attn_q", "attn_k", "attn_v"].iter().position(|name| *name == part);
        if let Some(third) = third {
            let name = format!("{block}.attn.in_proj_{end}");
            return Source { name, change: Change::Third(third) };
        }
        let part = match part {
            "attn_out" => "attn.out_proj",
            "ln1" => "ln_1",
            "ln2" => "ln_2",
            FC1 => "mlp.c_fc",
            FC2 => "mlp.c_proj",
            other => other,
        };
        return plain(format!("{block}.{part}.{end}"));
    }
    let rest = match (tower, rest) {
        (_, "position_embd.weight") => "positional_embedding".into(),
        (_, "token_embd.weight") => "token_embedding.weight".into(),
        (_, "class_embd") => "class_embedding".into(),
        (_, "patch_embd.weight") => "conv1.weight".into(),
        (_, rest) if rest.starts_with("pre_ln.") => rest.replace("pre_ln", "ln_pre"),
        ("t", rest) => rest.replace("post_ln", "ln_final"),
        (_, rest) => rest.replace("post_ln", "ln_post"),
    };
    plain(format!("{prefix}{rest}"))
}

fn split_tower(canonical: &str) -> Option<(&str, &str)> {
    canonical.split_once('.').filter(|(tower, _)| matches!(*tower, "t" | "v"))
}

fn split_layer(rest: &str) -> Option<(&str, &str)> {
    rest.strip_prefix("blk.")?.split_once('.')
}
