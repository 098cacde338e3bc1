//! The tensors of a CLIP model, and their names in each kind of file.
//!
//! The canonical names are those of clip.cpp's GGUF files, because that is the form the towers load.

use crate::error::Result;
use crate::format::gguf::{Header, TensorInfo};
use crate::model::config::ModelConfig;
use crate::model::inventory::{self, Expected, Role};

/// Every tensor of a model, text first, in the order of computation.
pub fn tensors(config: &ModelConfig) -> Vec<Expected> {
    let mut list = Vec::new();
    let mut add = |name: String, shape: &[usize], role| {
        list.push(Expected { name, shape: shape.to_vec(), role });
    };
    let mut towers = Vec::new();
    if let Some(text) = &config.text {
        let width = text.sizes.width;
        add("t.token_embd.weight".into(), &[text.vocabulary, width], Role::Table);
        let positions = [text.context, width];
        add("t.position_embd.weight".into(), &positions, Role::Plain);
        towers.push(("t", "text_projection.weight", text.sizes));
    }
    if let Some(vision) = &config.vision {
        let (patch, width) = (vision.patch_size, vision.sizes.width);
        add("v.class_embd".into(), &[width], Role::Plain);
        add("v.patch_embd.weight".into(), &[width, 3, patch, patch], Role::Plain);
        let positions = [vision.grid() * vision.grid() + 1, width];
        add("v.position_embd.weight".into(), &positions, Role::Plain);
        add("v.pre_ln.weight".into(), &[width], Role::Plain);
        add("v.pre_ln.bias".into(), &[width], Role::Plain);
        towers.push(("v", "visual_projection.weight", vision.sizes));
    }
    for (tower, projection, sizes) in towers {
        let (width, wide) = (sizes.width, sizes.feed_forward);
        for layer in 0..sizes.layers {
            let block = format!("{tower}.blk.{layer}");
            for norm in ["ln1", "ln2"] {
                add(format!("{block}.{norm}.weight"), &[width], Role::Plain);
                add(format!("{block}.{norm}.bias"), &[width], Role::Plain);
            }
            let linears = [
                ("attn_q", width, width),
                ("attn_k", width, width),
                ("attn_v", width, width),
                ("attn_out", width, width),
                (FC1, wide, width),
                (FC2, width, wide),
            ];
            for (linear, outputs, inputs) in linears {
                add(format!("{block}.{linear}.weight"), &[outputs, inputs], Role::Linear);
                add(format!("{block}.{linear}.bias"), &[outputs], Role::Plain);
            }
        }
        add(format!("{tower}.post_ln.weight"), &[width], Role::Plain);
        add(format!("{tower}.post_ln.bias"), &[width], Role::Plain);
        add(projection.into(), &[config.projection_dim, width], Role::Linear);
    }
    list
}

/// The expanding layer of an MLP. clip.cpp calls it "down", the reverse of llama.cpp's names.
pub const FC1: &str = "ffn_down";
/// The contracting layer of an MLP.
pub const FC2: &str = "ffn_up";

/// Matches a file's tensors with those that its configuration requires: see [`inventory::assign`].
///
/// Swaps the names of the two MLP layers if the file uses llama.cpp's names; the shapes show which.
///
/// # Errors
/// `missing_tensor` or `malformed_model`, with the tensor's name.
pub fn assign(config: &ModelConfig, header: &mut Header) -> Result<Vec<Option<Role>>> {
    rename_mlp_layers(config, &mut header.tensors);
    inventory::assign(&tensors(config), &header.tensors)
}

fn rename_mlp_layers(config: &ModelConfig, tensors: &mut [TensorInfo]) {
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

/// The two supported kinds of checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Hugging Face transformers' `CLIPModel`.
    HuggingFace,
    /// open_clip's and OpenAI's.
    OpenClip,
}

/// The checkpoint tensor that a canonical tensor is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The tensor's name in the checkpoint.
    pub name: String,
    /// How it is changed.
    pub change: Change,
}

/// How a source tensor is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Unchanged.
    None,
    /// Transposed from `[in, out]` to `[out, in]`.
    Transpose,
    /// The first, second or third of three equal parts along dimension 0.
    Third(usize),
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
        let (part, end) = part.rsplit_once('.').unwrap_or((part, ""));
        let part = match part {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_out" => "self_attn.out_proj",
            "ln1" => "layer_norm1",
            "ln2" => "layer_norm2",
            FC1 => "mlp.fc1",
            FC2 => "mlp.fc2",
            other => other,
        };
        return format!("{tower}.encoder.layers.{layer}.{part}.{end}");
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
