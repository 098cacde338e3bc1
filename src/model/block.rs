//! The residual attention block, and the stack of them that both towers are.

use candle_core::{Module, Tensor};
use candle_nn::LayerNorm;

use super::attention::Attention;
use super::linear::Linear;
use crate::config::{Activation, LayerSizes};
use crate::error::Result;
use crate::format::names::{FC1, FC2};
use crate::weights::Weights;

/// The layer norm `name`.
pub fn layer_norm(name: &str, eps: f64, weights: &mut Weights) -> Result<LayerNorm> {
    let weight = weights.plain(&format!("{name}.weight"))?;
    Ok(LayerNorm::new(weight, weights.plain(&format!("{name}.bias"))?, eps))
}

/// Every block of a tower.
pub struct Blocks(Vec<Block>);

impl Blocks {
    pub fn new(
        tower: &str,
        sizes: &LayerSizes,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        let blocks = (0..sizes.layers)
            .map(|layer| Block::new(&format!("{tower}.blk.{layer}"), sizes, activation, weights));
        Ok(Self(blocks.collect::<Result<_>>()?))
    }

    /// `xs` `[n, width]` to the row `pooled` of the last layer's output, `[1, width]`.
    ///
    /// Nothing reads the last layer's other rows, so they are not computed. `mask` is added to the
    /// scores, `[n, n]`.
    pub fn forward(&self, xs: Tensor, mask: Option<&Tensor>, pooled: usize) -> Result<Tensor> {
        let Some((last, first)) = self.0.split_last() else { return Ok(xs.narrow(0, pooled, 1)?) };
        let mut xs = xs;
        for block in first {
            xs = block.forward(&xs, mask)?;
        }
        let mask = mask.map(|mask| mask.narrow(0, pooled, 1)).transpose()?;
        last.forward_row(&xs, mask.as_ref(), pooled)
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
        weights: &mut Weights,
    ) -> Result<Self> {
        let eps = sizes.layer_norm_eps;
        Ok(Self {
            norm_1: layer_norm(&format!("{name}.ln1"), eps, weights)?,
            attention: Attention::new(name, sizes, weights)?,
            norm_2: layer_norm(&format!("{name}.ln2"), eps, weights)?,
            fc1: Linear::new(&format!("{name}.{FC1}"), weights)?,
            activation,
            fc2: Linear::new(&format!("{name}.{FC2}"), weights)?,
        })
    }

    fn forward(&self, xs: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let normed = self.norm_1.forward(xs)?;
        let xs = (xs + self.attention.forward(&normed, &normed, mask)?)?;
        self.mlp(xs)
    }

    /// As `forward`, for one row alone: the others serve as its keys and values.
    fn forward_row(&self, xs: &Tensor, mask: Option<&Tensor>, row: usize) -> Result<Tensor> {
        let normed = self.norm_1.forward(xs)?;
        let attended = self.attention.forward(&normed.narrow(0, row, 1)?, &normed, mask)?;
        self.mlp((xs.narrow(0, row, 1)? + attended)?)
    }

    fn mlp(&self, xs: Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward(&self.norm_2.forward(&xs)?)?;
        let hidden = match self.activation {
            Activation::Gelu => hidden.gelu_erf()?,
            // Quick GELU's constant is that of OpenAI's model.py.
            Activation::QuickGelu => (&hidden * candle_nn::ops::sigmoid(&(&hidden * 1.702)?)?)?,
        };
        Ok((xs + self.fc2.forward(&hidden)?)?)
    }
}
