//! The end of a tower: the last norm of the pooled rows, and their projection.

use candle_core::{Module, Tensor};

use super::linear::Linear;
use super::norm::LayerNorm;
use crate::cpu::weights::Weights;
use crate::error::Result;

/// `[inputs, width]` to `[inputs, projection_dim]`.
pub struct End {
    post_norm: LayerNorm,
    projection: Linear,
}

impl End {
    /// The end of `tower`, which is `t` (text) or `v` (vision).
    pub fn new(tower: &str, projection: &str, eps: f64, weights: &mut Weights) -> Result<Self> {
        Ok(Self {
            post_norm: LayerNorm::new(&format!("{tower}.post_ln"), eps, weights)?,
            projection: Linear::without_bias(projection, weights)?,
        })
    }

    /// The projections of the pooled rows.
    pub fn forward(&self, pooled: &Tensor) -> Result<Vec<Vec<f32>>> {
        let projected = self.projection.forward_each(&self.post_norm.forward(pooled)?)?;
        Ok(projected.to_vec2()?)
    }
}
