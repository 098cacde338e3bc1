//! The residual attention block, and the stack of blocks that makes up a tower.

use candle_core::{Module, Tensor};

use super::attention::Attention;
use super::kernels::attention::Sequence;
use super::linear::Linear;
use super::norm::LayerNorm;
use super::pace::Pace;
use crate::cpu::MOST_ROWS;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::memory;
use crate::model::config::{Activation, LayerSizes};
use crate::model::inventory::{FC1, FC2};

/// Every block of a tower.
pub struct Blocks {
    blocks: Vec<Block>,
    width: usize,
    feed_forward: usize,
    pace: Pace,
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
        let pace = Pace::default();
        Ok(Self { blocks, width: sizes.width, feed_forward: sizes.feed_forward, pace })
    }

    /// Checks that there is memory for the activations of sequences of these lengths in every block: candle
    /// allocates without checking.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, lengths: &[usize]) -> Result<()> {
        let Some(block) = self.blocks.first() else { return Ok(()) };
        let (n, longest) = (lengths.iter().sum(), lengths.iter().max().copied().unwrap_or(0));
        self.blocks.iter().try_for_each(|block| block.make_room(n, longest))?;
        let rows = 4 * n as u64;
        let (width, wide) = (rows * self.width as u64, rows * self.feed_forward as u64);
        // The residual and its normalised copy; queries, keys and values side by side; the attention
        // output. In f32, queries, keys and values are separate tensors first.
        memory::probe(&[width, width, 3 * width, width])?;
        if block.mlp.fc1.is_float() {
            memory::probe(&[width, width, 3 * width, 3 * width])?;
            memory::probe(&[width, width, wide, wide])?;
        }
        memory::probe(&[width, width, wide])
    }

    /// How many rows it pays to compute together. One input at a time where candle computes a layer in f32: it chooses
    /// the order of roundings by the number of rows, so that the last bits would depend on the batch.
    pub fn most_rows(&self) -> usize {
        if self.is_float() { 1 } else { MOST_ROWS }
    }

    /// Whether candle computes some layer in f32.
    pub fn is_float(&self) -> bool {
        self.blocks.iter().any(Block::is_float)
    }

    /// The blocks' output for all rows of sequences of these lengths, `[n, width]`.
    pub fn forward_all(&self, xs: Tensor, lengths: &[usize]) -> Result<Tensor> {
        self.pace.run(xs.dim(0)?, || {
            let mut start = 0;
            let whole = lengths.iter().map(|length| {
                let rows = start..start + length;
                start = rows.end;
                Sequence::whole(rows)
            });
            let whole: Vec<_> = whole.collect();
            self.blocks.iter().try_fold(xs, |xs, block| block.forward(xs, &whole))
        })
    }

    /// The blocks' output for one row of each sequence: `xs` `[n, width]` to `[sequences, width]`. The sequences
    /// follow one another in `xs`; each is given by its length and its pooled row, which in a causal tower
    /// is the last. Nothing reads the last layer's other rows, so they are not computed.
    pub fn forward(&self, xs: Tensor, sequences: &[Pooled]) -> Result<Tensor> {
        self.pace.run(xs.dim(0)?, || self.compute(xs, sequences))
    }

    fn compute(&self, xs: Tensor, sequences: &[Pooled]) -> Result<Tensor> {
        let mut start = 0;
        let (mut whole, mut pooled) = (Vec::new(), Vec::new());
        for Pooled { length, row } in sequences {
            let rows = start..start + length;
            whole.push(Sequence::whole(rows.clone()));
            pooled.push(Sequence::of_row(rows, start + row));
            start += length;
        }
        let Some((last, first)) = self.blocks.split_last() else {
            return pooled_rows(&xs, &pooled);
        };
        let mut xs = xs;
        for block in first {
            xs = block.forward(xs, &whole)?;
        }
        last.forward_pooled(&xs, &pooled)
    }
}

/// A sequence of so many rows, and the row of it that is pooled.
pub struct Pooled {
    pub length: usize,
    pub row: usize,
}

/// The rows that attend: `[n, width]` to `[sequences, width]`.
fn pooled_rows(xs: &Tensor, sequences: &[Sequence]) -> Result<Tensor> {
    let rows: Vec<u32> = sequences.iter().map(|sequence| sequence.queries.start as u32).collect();
    Ok(xs.index_select(&Tensor::new(rows, xs.device())?, 0)?)
}

/// One block.
pub struct Block {
    norm_1: LayerNorm,
    attention: Attention,
    mlp: Mlp,
}

/// A norm and two layers, added to their input.
pub struct Mlp {
    norm: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Block {
    /// The block `name`, such as `v.blk.0`.
    pub fn new(
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
            mlp: Mlp::new(name, eps, activation, weights)?,
        })
    }

    fn is_float(&self) -> bool {
        self.attention.is_float() || self.mlp.is_float()
    }

    fn make_room(&self, n: usize, longest: usize) -> Result<()> {
        self.attention.make_room(n, longest)?;
        self.mlp.make_room(n)
    }

    /// The block's output for all rows.
    pub fn forward(&self, xs: Tensor, sequences: &[Sequence]) -> Result<Tensor> {
        let normed = self.norm_1.forward(&xs)?;
        self.mlp.add_to(self.attention.add_to(xs, &normed, sequences)?)
    }

    /// Like `forward`, but computes one row of each sequence: the other rows only supply keys and values.
    pub fn forward_pooled(&self, xs: &Tensor, sequences: &[Sequence]) -> Result<Tensor> {
        let normed = self.norm_1.forward(xs)?;
        self.mlp.add_to(self.attention.add_to(pooled_rows(xs, sequences)?, &normed, sequences)?)
    }
}

impl Mlp {
    /// That of `block`, such as `v.blk.0`.
    pub fn new(
        block: &str,
        eps: f64,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::new(&format!("{block}.ln2"), eps, weights)?,
            fc1: Linear::new(&format!("{block}.{FC1}"), weights)?,
            activation,
            fc2: Linear::new(&format!("{block}.{FC2}"), weights)?,
        })
    }

    /// Whether candle computes one of its products in f32.
    pub fn is_float(&self) -> bool {
        self.fc1.is_float() || self.fc2.is_float()
    }

    /// Reserves the memory that this thread keeps for `n` rows.
    pub fn make_room(&self, n: usize) -> Result<()> {
        self.fc1.make_room(n)?;
        self.fc2.make_room(n)
    }

    /// `xs` plus what the layers make of it, normalised.
    pub fn add_to(&self, xs: Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward_activated(&self.norm.forward(&xs)?, self.activation)?;
        self.fc2.add_to(xs, &hidden)
    }
}
