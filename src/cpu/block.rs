//! The residual attention block, and the stack of blocks that makes up a tower.

use candle_core::{Module, Tensor};

use super::attention::Attention;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::memory;
use crate::model::clip::names::{FC1, FC2};
use crate::model::config::{Activation, LayerSizes};

/// Every block of a tower.
pub struct Blocks {
    blocks: Vec<Block>,
    width: usize,
    feed_forward: usize,
}

impl Blocks {
    /// The blocks of `tower`, which is `t` (text) or `v` (vision).
    pub fn new(
        tower: &str,
        sizes: &LayerSizes,
        activation: Activation,
        causal: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        let blocks = (0..sizes.layers).map(|layer| {
            let name = format!("{tower}.blk.{layer}");
            Block::new(&name, sizes, activation, causal, weights)
        });
        let blocks = blocks.collect::<Result<_>>()?;
        Ok(Self { blocks, width: sizes.width, feed_forward: sizes.feed_forward })
    }

    /// Checks that there is memory for the activations of `n` rows in every block: candle allocates without
    /// checking.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, n: usize) -> Result<()> {
        let Some(block) = self.blocks.first() else { return Ok(()) };
        self.blocks.iter().try_for_each(|block| block.make_room(n))?;
        let rows = 4 * n as u64;
        let (width, wide) = (rows * self.width as u64, rows * self.feed_forward as u64);
        // The residual and its normalised copy; queries, keys and values side by side; the attention
        // output. In f32, queries, keys and values are separate tensors first.
        memory::probe(&[width, width, 3 * width, width])?;
        if block.fc1.is_float() {
            memory::probe(&[width, width, 3 * width, 3 * width])?;
            memory::probe(&[width, width, wide, wide])?;
        }
        memory::probe(&[width, width, wide])
    }

    /// The blocks' output for the row `pooled` only: `xs` `[n, width]` to `[1, width]`. In a causal tower
    /// `pooled` is the last row. Nothing reads the last layer's other rows, so they are not computed.
    pub fn forward(&self, xs: Tensor, pooled: usize) -> Result<Tensor> {
        let Some((last, first)) = self.blocks.split_last() else {
            return Ok(xs.narrow(0, pooled, 1)?);
        };
        let mut xs = xs;
        for block in first {
            xs = block.forward(xs)?;
        }
        last.forward_row(&xs, pooled)
    }
}

struct Block {
    norm_1: LayerNorm,
    attention: Attention,
    norm_2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Block {
    fn new(
        name: &str,
        sizes: &LayerSizes,
        activation: Activation,
        causal: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        let eps = sizes.layer_norm_eps;
        Ok(Self {
            norm_1: LayerNorm::new(&format!("{name}.ln1"), eps, weights)?,
            attention: Attention::new(name, sizes, causal, weights)?,
            norm_2: LayerNorm::new(&format!("{name}.ln2"), eps, weights)?,
            fc1: Linear::new(&format!("{name}.{FC1}"), weights)?,
            activation,
            fc2: Linear::new(&format!("{name}.{FC2}"), weights)?,
        })
    }

    fn make_room(&self, n: usize) -> Result<()> {
        self.attention.make_room(n)?;
        self.fc1.make_room(n)?;
        self.fc2.make_room(n)
    }

    fn forward(&self, xs: Tensor) -> Result<Tensor> {
        let normed = self.norm_1.forward(&xs)?;
        let all = 0..xs.dim(0)?;
        self.mlp(self.attention.add_to(xs, &normed, all)?)
    }

    /// Like `forward`, but computes one row: the other rows only supply keys and values.
    fn forward_row(&self, xs: &Tensor, row: usize) -> Result<Tensor> {
        let normed = self.norm_1.forward(xs)?;
        self.mlp(self.attention.add_to(xs.narrow(0, row, 1)?, &normed, row..row + 1)?)
    }

    fn mlp(&self, xs: Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward_activated(&self.norm_2.forward(&xs)?, self.activation)?;
        self.fc2.add_to(xs, &hidden)
    }
}
