//! The ends of towers: from the rows of the last block to vectors.

use candle_core::{Device, Module, Tensor};

use super::attention::Attention;
use super::block::Mlp;
use super::kernels::attention::Sequence;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::{Activation, Family, LayerSizes};

/// The last norm of the pooled rows, and their projection: `[inputs, width]` to `[inputs, projection_dim]`.
pub struct End {
    post_norm: LayerNorm,
    projection: Linear,
}

impl End {
    /// The end of `tower`, which is `t` (text) or `v` (vision). A SigLIP's projection has a bias.
    pub fn new(
        family: Family,
        tower: &str,
        projection: &str,
        eps: f64,
        weights: &mut Weights,
    ) -> Result<Self> {
        Ok(Self {
            post_norm: LayerNorm::new(&format!("{tower}.post_ln"), eps, weights)?,
            projection: match family {
                Family::Clip => Linear::without_bias(projection, weights)?,
                Family::Siglip => Linear::new(projection, weights)?,
            },
        })
    }

    /// The projections of the pooled rows.
    pub fn forward(&self, pooled: &Tensor) -> Result<Vec<Vec<f32>>> {
        let projected = self.projection.forward_each(&self.post_norm.forward(pooled)?)?;
        Ok(projected.to_vec2()?)
    }
}

/// The end of a SigLIP's vision tower: a learned query attends to all rows of an image.
pub struct AttentionPool {
    post_norm: LayerNorm,
    /// `[1, width]`.
    probe: Tensor,
    attention: Attention,
    mlp: Mlp,
}

impl AttentionPool {
    /// Takes its tensors out of `weights`.
    pub fn new(sizes: &LayerSizes, activation: Activation, weights: &mut Weights) -> Result<Self> {
        let eps = sizes.layer_norm_eps;
        Ok(Self {
            post_norm: LayerNorm::new("v.post_ln", eps, weights)?,
            probe: weights.plain("v.head.probe")?.reshape((1, sizes.width))?,
            attention: Attention::new("v.head", sizes, false, weights)?,
            mlp: Mlp::new("v.head", eps, activation, weights)?,
        })
    }

    /// Reserves the memory that this thread keeps for so many images of so many rows.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, images: usize, rows: usize) -> Result<()> {
        self.attention.make_room(images * (rows + 1), rows)?;
        self.mlp.make_room(images)
    }

    /// The vectors of images of so many rows each, `[images * rows, width]`.
    pub fn forward(&self, xs: &Tensor, images: usize, rows: usize) -> Result<Vec<Vec<f32>>> {
        let width = xs.dim(1)?;
        let normed = self.post_norm.forward(xs)?;
        // The query is one more row, behind those of all images, and no key.
        let probes = self.probe.broadcast_as((images, width))?;
        let xs = Tensor::cat(&[&normed, &probes.contiguous()?], 0)?;
        let sequences: Vec<_> = (0..images)
            .map(|image| Sequence::of_row(image * rows..(image + 1) * rows, images * rows + image))
            .collect();
        let none = Tensor::zeros((images, width), xs.dtype(), &Device::Cpu)?;
        let attended = self.attention.add_to(none, &xs, &sequences)?;
        Ok(self.mlp.add_to(attended)?.to_vec2()?)
    }
}
