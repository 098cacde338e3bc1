//! The residual attention block, as steps.

use super::arena::{Count, Forms};
use super::device::Gpu;
use super::kernels::{Copied, Heads, Kernel, Put};
use super::linear::{Into, LayerNorm, Linear};
use super::steps::Recorder;
use super::weights::Upload;
use crate::error::Result;
use crate::model::config::{Activation, LayerSizes};
use crate::model::inventory::{FC1, FC2};
use crate::weights::Weights;
use crate::weights::blocks::BLOCK;

/// What pools a SigLIP's images is a block too, whose first norm is the tower's last.
pub const HEAD: &str = "v.head";

/// A block's weights.
pub struct Block {
    norm_1: LayerNorm,
    qkv: Linear,
    out_proj: Linear,
    norm_2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
    heads: usize,
    shape: Heads,
}

/// Where attention reads its queries, and for which groups of them.
struct Queries<'a> {
    buffer: &'a wgpu::Buffer,
    /// Values from one row to the next.
    stride: usize,
    groups: &'a wgpu::Buffer,
    /// The groups, and the rows that they are.
    count: Count,
    rows: Count,
}

impl Block {
    /// The block `name`, such as `v.blk.0`.
    ///
    /// # Errors
    /// `missing_tensor`
    pub fn new(
        gpu: &Gpu,
        name: &str,
        sizes: &LayerSizes,
        activation: Activation,
        shape: Heads,
        weights: &mut Weights<Upload>,
    ) -> Result<Self> {
        let eps = sizes.layer_norm_eps;
        let linear = |part: &str, weights: &mut Weights<Upload>| {
            Linear::new(gpu, &format!("{name}.{part}"), weights)
        };
        let norm_1 = match name {
            HEAD => "v.post_ln".into(),
            _ => format!("{name}.ln1"),
        };
        Ok(Self {
            norm_1: LayerNorm::new(gpu, &norm_1, eps, weights)?,
            qkv: Linear::qkv(gpu, name, weights)?,
            out_proj: linear("attn_out", weights)?,
            norm_2: LayerNorm::new(gpu, &format!("{name}.ln2"), eps, weights)?,
            fc1: linear(FC1, weights)?,
            activation,
            fc2: linear(FC2, weights)?,
            heads: sizes.heads,
            shape,
        })
    }

    /// The forms in which its linear layers take their inputs.
    pub fn add_forms(&self, forms: &mut Forms) {
        for linear in [&self.qkv, &self.out_proj, &self.fc1, &self.fc2] {
            forms.is_int8 |= linear.is_int8();
            forms.is_float |= !linear.is_int8();
        }
    }

    /// Bytes of its linear weights.
    pub fn weight_bytes(&self) -> u64 {
        let linears = [&self.qkv, &self.out_proj, &self.fc1, &self.fc2];
        linears.into_iter().map(Linear::weight_bytes).sum()
    }

    /// Adds the block to the steps: all rows of the residual, in place.
    pub fn record(&self, to: &mut Recorder) {
        let arena = to.arena;
        self.norm_1.record(to, Count::Rows, &arena.residual, &arena.normed, &self.qkv);
        self.qkv.record(to, Count::Rows, &arena.normed, Into::Floats(&arena.qkv));
        let queries = Queries {
            buffer: &arena.qkv,
            stride: 3 * self.width(),
            groups: &arena.groups,
            count: Count::Groups,
            rows: Count::Rows,
        };
        self.attend(to, &queries, 3 * self.width(), self.width());
        self.rest(to, Count::Rows, &arena.residual);
    }

    /// Like [`Block::record`], but computes the pooled rows only, into `arena.pooled`: the other rows supply keys and
    /// values.
    pub fn record_pooled(&self, to: &mut Recorder) {
        let (arena, width) = (to.arena, self.width());
        self.norm_1.record(to, Count::Rows, &arena.residual, &arena.normed, &self.qkv);
        let keys_and_values = Into::Floats(&arena.qkv);
        self.qkv.record_part(to, Count::Rows, &arena.normed, keys_and_values, width, 2 * width);
        pool(to, width);
        self.norm_1.record(to, Count::Pooled, &arena.pooled, &arena.normed, &self.qkv);
        self.attend_pooled(to);
        self.rest(to, Count::Pooled, &arena.pooled);
    }

    /// Attention of the pooled rows, which `arena.normed` has.
    fn attend_pooled(&self, to: &mut Recorder) {
        let (arena, width) = (to.arena, self.width());
        let queries = Into::Floats(&arena.pooled_queries);
        self.qkv.record_part(to, Count::Pooled, &arena.normed, queries, 0, width);
        let queries = Queries {
            buffer: &arena.pooled_queries,
            stride: width,
            groups: &arena.pooled_groups,
            count: Count::PooledGroups,
            rows: Count::Pooled,
        };
        self.attend(to, &queries, 2 * width, 0);
    }

    /// Adds the attention that pools a SigLIP's images to the steps, into `arena.pooled`: `probe`, the same for each, is
    /// what attends to all its rows.
    pub fn record_head(&self, to: &mut Recorder, probe: &wgpu::Buffer) {
        let (arena, width) = (to.arena, self.width());
        self.norm_1.record(to, Count::Rows, &arena.residual, &arena.normed, &self.qkv);
        let keys_and_values = Into::Floats(&arena.qkv);
        self.qkv.record_part(to, Count::Rows, &arena.normed, keys_and_values, width, 2 * width);
        let (put, outputs) = self.qkv.takes(&arena.normed);
        let buffers = [&[(4, probe), (5, &arena.first_rows)][..], &outputs].concat();
        let kernel = Kernel::CopyRows { from: Copied::Listed, put };
        to.each_row(kernel, Count::Pooled, 1, &[width as u32], &buffers);
        self.attend_pooled(to);
        self.out_proj.record(to, Count::Pooled, &arena.normed, Into::Floats(&arena.pooled));
        self.mlp(to, Count::Pooled, &arena.pooled);
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim()
    }

    fn head_dim(&self) -> usize {
        self.shape.head_dim as usize
    }

    /// Attention's output, in the form that the output projection takes. Keys start at column `keys` of `arena.qkv`,
    /// values after them.
    fn attend(&self, to: &mut Recorder, queries: &Queries, stride: usize, keys: usize) {
        let (arena, width) = (to.arena, self.width());
        let scale = (self.head_dim() as f32).sqrt().recip();
        let sizes = [width, queries.stride, stride, keys, keys + width].map(|size| size as u32);
        let sizes = [&sizes[..], &[scale.to_bits()]].concat();
        let inputs = [(2, queries.buffer), (3, &arena.qkv), (4, queries.groups)];
        let takes_int8 = self.out_proj.is_int8();
        let is_int8 = takes_int8 && self.head_dim().is_multiple_of(BLOCK);
        let outputs = match (is_int8, takes_int8) {
            (true, _) | (_, false) => self.out_proj.takes(&arena.normed).1,
            (false, true) => vec![(10, &arena.attended)],
        };
        let kernel = Kernel::Attention { shape: self.shape, is_int8 };
        let buffers = [&inputs[..], &outputs].concat();
        to.each_row(kernel, queries.count, self.heads as u32, &sizes, &buffers);
        if takes_int8 && !is_int8 {
            let (put, outputs) = self.out_proj.takes(&arena.normed);
            let buffers = [&[(4, &arena.attended)][..], &outputs].concat();
            let kernel = Kernel::CopyRows { from: Copied::All, put };
            to.each_row(kernel, queries.rows, 1, &[width as u32], &buffers);
        }
    }

    /// The output projection and the MLP, each added to the residual.
    fn rest(&self, to: &mut Recorder, count: Count, residual: &wgpu::Buffer) {
        let arena = to.arena;
        self.out_proj.record(to, count, &arena.normed, Into::Residual(residual));
        self.mlp(to, count, residual);
    }

    fn mlp(&self, to: &mut Recorder, count: Count, residual: &wgpu::Buffer) {
        let arena = to.arena;
        self.norm_2.record(to, count, residual, &arena.normed, &self.fc1);
        let hidden = Into::Activated(self.activation, &arena.hidden, &self.fc2);
        self.fc1.record(to, count, &arena.normed, hidden);
        self.fc2.record(to, count, &arena.hidden, Into::Residual(residual));
    }
}

/// Copies the pooled rows of the residual.
pub fn pool(to: &mut Recorder, width: usize) {
    let arena = to.arena;
    let kernel = Kernel::CopyRows { from: Copied::Listed, put: Put::Float };
    let buffers = [(4, &arena.residual), (5, &arena.pooled_rows), (10, &arena.pooled)];
    to.each_row(kernel, Count::Pooled, 1, &[width as u32], &buffers);
}
