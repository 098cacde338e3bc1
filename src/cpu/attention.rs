//! Multi-head self-attention.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::linear::{Linear, QkvLinear, contiguous};
use crate::cpu::kernels::attention::{Heads, Sequence};
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::LayerSizes;

/// The projections to queries, keys and values, the heads, and the output projection.
pub struct Attention {
    qkv: QkvLinear,
    out_proj: Linear,
    heads: Heads,
}

impl Attention {
    /// The attention of `block`, such as `v.blk.0`.
    pub fn new(
        block: &str,
        sizes: &LayerSizes,
        causal: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        Ok(Self {
            qkv: QkvLinear::new(block, weights)?,
            out_proj: Linear::new(&format!("{block}.attn_out"), weights)?,
            heads: Heads { heads: sizes.heads, head_dim: sizes.head_dim(), causal },
        })
    }

    /// Whether candle computes one of its products in f32.
    pub fn is_float(&self) -> bool {
        self.qkv.is_float() || self.out_proj.is_float()
    }

    /// Reserves the memory that this thread keeps for `n` rows, in sequences of at most `longest`.
    pub fn make_room(&self, n: usize, longest: usize) -> Result<()> {
        self.qkv.make_room(n)?;
        self.heads.make_room(longest)?;
        self.out_proj.make_room(n)
    }

    /// `residual` `[queries, width]` plus the attention output of the sequences' queries. `xs` `[n, width]` is
    /// normalised. A query attends to all rows of its sequence, or to those up to its own if attention is
    /// causal.
    pub fn add_to(&self, residual: Tensor, xs: &Tensor, sequences: &[Sequence]) -> Result<Tensor> {
        let qkv = self.qkv.forward(xs, sequences)?;
        let attended = qkv.apply_op1_no_bwd(&Attend { heads: self.heads, sequences })?;
        self.out_proj.add_to(residual, &attended)
    }
}

/// `[n, 3 * width]` to `[queries, width]`.
struct Attend<'a> {
    heads: Heads,
    sequences: &'a [Sequence],
}

impl CustomOp1 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = self.heads.width();
        let rows = self.sequences.iter().map(|sequence| sequence.queries.len()).sum();
        let mut out = vec![0.0; rows * width];
        self.heads.attend(contiguous(storage, layout)?, self.sequences, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((rows, width))))
    }
}
