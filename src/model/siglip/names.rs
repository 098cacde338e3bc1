//! The tensors of a SigLIP, and their names in a checkpoint. The canonical names follow those of a CLIP; `v.head` is the
//! attention that pools an image.

use crate::model::config::ModelConfig;
use crate::model::inventory::{Change, Expected, FC1, List, Source, hugging_face_part};

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
    /// open_clip's, with an image tower of timm.
    OpenClip,
}

/// The source of a canonical tensor in a checkpoint.
pub fn source(checkpoint: Checkpoint, canonical: &str) -> Source {
    if checkpoint == Checkpoint::OpenClip {
        return of_open_clip(canonical);
    }
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

fn of_open_clip(canonical: &str) -> Source {
    let (place, end) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    let plain = |name: String| Source { name, change: Change::None };
    let part_of = |name: &str| ["attn_q", "attn_k", "attn_v"].iter().position(|part| *part == name);
    if let Some((layer, part)) = place.strip_prefix("t.blk.").and_then(|rest| rest.split_once('.'))
    {
        let block = format!("text.transformer.resblocks.{layer}");
        return match (part, part_of(part)) {
            (_, Some(third)) => {
                let name = format!("{block}.attn.in_proj_{end}");
                Source { name, change: Change::Third(third) }
            }
            ("attn_out", _) => plain(format!("{block}.attn.out_proj.{end}")),
            ("ln1", _) => plain(format!("{block}.ln_1.{end}")),
            ("ln2", _) => plain(format!("{block}.ln_2.{end}")),
            (FC1, _) => plain(format!("{block}.mlp.c_fc.{end}")),
            _ => plain(format!("{block}.mlp.c_proj.{end}")),
        };
    }
    if let Some((layer, part)) = place.strip_prefix("v.blk.").and_then(|rest| rest.split_once('.'))
    {
        let block = format!("visual.trunk.blocks.{layer}");
        return match (part, part_of(part)) {
            (_, Some(third)) => {
                let name = format!("{block}.attn.qkv.{end}");
                Source { name, change: Change::Third(third) }
            }
            ("attn_out", _) => plain(format!("{block}.attn.proj.{end}")),
            ("ln1", _) => plain(format!("{block}.norm1.{end}")),
            ("ln2", _) => plain(format!("{block}.norm2.{end}")),
            (FC1, _) => plain(format!("{block}.mlp.fc1.{end}")),
            _ => plain(format!("{block}.mlp.fc2.{end}")),
        };
    }
    let head = "visual.trunk.attn_pool";
    let half = |half| Source { name: format!("{head}.kv.{end}"), change: Change::Half(half) };
    plain(match place {
        "t.token_embd" => "text.token_embedding.weight".into(),
        "t.position_embd" => "text.positional_embedding".into(),
        "t.post_ln" => format!("text.ln_final.{end}"),
        "text_projection" => format!("text.text_projection.{end}"),
        "v.patch_embd" => format!("visual.trunk.patch_embed.proj.{end}"),
        "v.position_embd" => {
            return Source { name: "visual.trunk.pos_embed".into(), change: Change::Squeeze };
        }
        "v.post_ln" => format!("visual.trunk.norm.{end}"),
        "v.head.attn_q" => format!("{head}.q.{end}"),
        "v.head.attn_k" => return half(0),
        "v.head.attn_v" => return half(1),
        "v.head.attn_out" => format!("{head}.proj.{end}"),
        "v.head.ln2" => format!("{head}.norm.{end}"),
        "v.head.ffn_down" => format!("{head}.mlp.fc1.{end}"),
        "v.head.ffn_up" => format!("{head}.mlp.fc2.{end}"),
        // `v.head.probe`.
        _ => format!("{head}.latent"),
    })
}
