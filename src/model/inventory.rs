//! Compares the tensors a model requires with those a file has.

use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::TensorInfo;
use crate::model::config::{LayerSizes, Tower, missing};

/// How a tensor is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weight of a linear layer, `[out, in]`.
    Linear,
    /// Rows that are looked up by index, `[rows, width]`.
    Table,
    /// Everything else, used unchanged in f32.
    Plain,
}

/// A tensor that a configuration requires.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its canonical name.
    pub name: String,
    /// Row-major, outermost dimension first.
    pub shape: Vec<usize>,
    /// How it is kept in memory.
    pub role: Role,
}

/// The expanding layer of an MLP. clip.cpp calls it "down", the reverse of llama.cpp's names.
pub const FC1: &str = "ffn_down";
/// The contracting layer of an MLP.
pub const FC2: &str = "ffn_up";

/// The tensors of a configuration, in the order of computation.
#[derive(Default)]
pub(crate) struct List {
    pub tensors: Vec<Expected>,
}

impl List {
    fn add(&mut self, name: String, shape: &[usize], role: Role) {
        self.tensors.push(Expected { name, shape: shape.to_vec(), role });
    }

    /// A table of embeddings.
    pub fn table(&mut self, name: &str, shape: [usize; 2]) {
        self.add(name.into(), &shape, Role::Table);
    }

    /// A tensor that is used unchanged.
    pub fn plain(&mut self, name: &str, shape: &[usize]) {
        self.add(name.into(), shape, Role::Plain);
    }

    /// A linear layer's weight, `[outputs, inputs]`.
    pub fn linear(&mut self, name: &str, shape: [usize; 2]) {
        self.add(format!("{name}.weight"), &shape, Role::Linear);
    }

    /// A linear layer with a bias.
    pub fn biased(&mut self, name: &str, shape: [usize; 2]) {
        self.linear(name, shape);
        self.plain(&format!("{name}.bias"), &shape[..1]);
    }

    /// A layer norm.
    pub fn norm(&mut self, name: &str, width: usize) {
        self.plain(&format!("{name}.weight"), &[width]);
        self.plain(&format!("{name}.bias"), &[width]);
    }

    /// The projections of attention.
    pub fn attention(&mut self, block: &str, width: usize) {
        for part in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            self.biased(&format!("{block}.{part}"), [width, width]);
        }
    }

    /// The two layers of an MLP.
    pub fn mlp(&mut self, block: &str, sizes: &LayerSizes) {
        self.biased(&format!("{block}.{FC1}"), [sizes.feed_forward, sizes.width]);
        self.biased(&format!("{block}.{FC2}"), [sizes.width, sizes.feed_forward]);
    }

    /// The residual attention blocks of a tower.
    pub fn blocks(&mut self, tower: &str, sizes: &LayerSizes) {
        for layer in 0..sizes.layers {
            let block = format!("{tower}.blk.{layer}");
            self.norm(&format!("{block}.ln1"), sizes.width);
            self.norm(&format!("{block}.ln2"), sizes.width);
            self.attention(&block, sizes.width);
            self.mlp(&block, sizes);
        }
    }
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
    /// The first or second of two equal parts along dimension 0.
    Half(usize),
    /// Without a first dimension of 1.
    Squeeze,
}

/// The name in transformers of a tensor of a block, such as `attn_q.weight`.
pub(crate) fn hugging_face_part(part: &str) -> String {
    let Some((name, end)) = part.rsplit_once('.') else { return part.into() };
    let name = match name {
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
    format!("{name}.{end}")
}

/// Matches a file's tensors with those that its configuration requires, before any of their bytes arrive.
/// Returns each tensor's role, or `None` if nothing reads it.
///
/// # Errors
/// `missing_tensor` or `malformed_model`, with the tensor's name.
pub fn assign(expected: &[Expected], tensors: &[TensorInfo]) -> Result<Vec<Option<Role>>> {
    for want in expected {
        let found = tensors.iter().find(|tensor| tensor.name == want.name);
        let found = found.ok_or_else(|| missing(&want.name))?;
        if found.shape != want.shape {
            let message = format!(
                "tensor {} has shape {:?} where its model requires {:?}; use another file",
                want.name, found.shape, want.shape
            );
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
    }
    let role = |tensor: &TensorInfo| {
        expected.iter().find(|want| want.name == tensor.name).map(|want| want.role)
    };
    Ok(tensors.iter().map(role).collect())
}

/// The tower that a canonical tensor belongs to.
pub fn tower_of(canonical: &str) -> Tower {
    match canonical.starts_with("v.") || canonical.starts_with("visual_") {
        true => Tower::Vision,
        false => Tower::Text,
    }
}
