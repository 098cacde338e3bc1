//! The tensors of a SigLIP, and their names in a checkpoint. The canonical names follow those of a CLIP; `v.head` is the
//! attention that pools an image.

use crate::model::config::ModelConfig;
use crate::model::inventory::{Change, Expected, List, Source, hugging_face_part};

/// Every tensor of a model, text first, in the order of computation.
pub fn tensors(config: &ModelConfig) -> Vec<Expected> {
    let mut list = List::default();
    if let Some(text) = &config.text {
        let width = text.sizes.width;
        list.table("t.token_embd.weight", [text.vocabulary, width]);
        list.plain("t.position_embd.weight", &[text.context, width]);
        list.blocks("t", &text.sizes);
        list.norm("t.post_ln", width);
        list.biased("text_projection", [config.projection_dim, width]);
    }
    if let Some(vision) = &config.vision {
        let (patch, width) = (vision.patch_size, vision.sizes.width);
        list.plain("v.patch_embd.weight", &[width, 3, patch, patch]);
        list.plain("v.patch_embd.bias", &[width]);
        list.plain("v.position_embd.weight", &[vision.grid() * vision.grid(), width]);
        list.blocks("v", &vision.sizes);
        list.norm("v.post_ln", width);
        list.plain("v.head.probe", &[1, 1, width]);
        list.attention("v.head", width);
        list.norm("v.head.ln2", width);
        list.mlp("v.head", &vision.sizes);
    }
    list.tensors
}

/// The kinds of checkpoint of a SigLIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// transformers' `SiglipModel`, or one of its towers as versions before 5 save it.
    Whole,
    /// transformers' `SiglipTextModel` or `SiglipVisionModel`, as version 5 saves it.
    Tower,
}

/// The source of a canonical tensor in a checkpoint.
pub fn source(checkpoint: Checkpoint, canonical: &str) -> Source {
    let Source { name, change } = of_whole(canonical);
    let tower = ["text_model.", "vision_model."].iter().find_map(|tower| name.strip_prefix(tower));
    match (checkpoint, tower) {
        (Checkpoint::Tower, Some(rest)) => Source { name: rest.into(), change },
        _ => Source { name, change },
    }
}

fn of_whole(canonical: &str) -> Source {
    let plain = |name: String| Source { name, change: Change::None };
    if let Some(end) = canonical.strip_prefix("text_projection.") {
        return plain(format!("text_model.head.{end}"));
    }
    let (tower, rest) = canonical.split_once('.').unwrap_or(("", canonical));
    let tower = if tower == "t" { "text_model" } else { "vision_model" };
    if let Some((layer, part)) = rest.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        return plain(format!("{tower}.encoder.layers.{layer}.{}", hugging_face_part(part)));
    }
    if let Some(part) = rest.strip_prefix("head.") {
        let (name, end) = part.rsplit_once('.').unwrap_or((part, ""));
        // torch's MultiheadAttention has the three projections in one.
        let third = ["attn_q", "attn_k", "attn_v"].iter().position(|third| *third == name);
        if let Some(third) = third {
            let name = format!("{tower}.head.attention.in_proj_{end}");
            return Source { name, change: Change::Third(third) };
        }
        return plain(match name {
            "attn_out" => format!("{tower}.head.attention.out_proj.{end}"),
            "ln2" => format!("{tower}.head.layernorm.{end}"),
            _ => format!("{tower}.head.{}", hugging_face_part(part)),
        });
    }
    let rest = match (tower, rest) {
        (_, "token_embd.weight") => "embeddings.token_embedding.weight".into(),
        (_, "position_embd.weight") => "embeddings.position_embedding.weight".into(),
        (_, rest) if rest.starts_with("patch_embd.") => {
            rest.replace("patch_embd", "embeddings.patch_embedding")
        }
        ("text_model", rest) => rest.replace("post_ln", "final_layer_norm"),
        (_, rest) => rest.replace("post_ln", "post_layernorm"),
    };
    plain(format!("{tower}.{rest}"))
}
