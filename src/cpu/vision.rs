//! The vision tower: pixels -> projection.

use candle_core::{Device, Module, Tensor};

use super::block::Blocks;
use super::linear::{FloatProduct, Linear};
use super::norm::LayerNorm;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::memory;
use crate::model::clip::config::VisionConfig;
use crate::model::config::Activation;

/// Embeddings of patches and positions, the blocks, and the projection.
pub struct VisionTower {
    class_embedding: Tensor,
    patch_embedding: FloatProduct,
    position_embedding: Tensor,
    pre_norm: LayerNorm,
    blocks: Blocks,
    post_norm: LayerNorm,
    projection: Linear,
    grid: usize,
    patch: usize,
}

impl VisionTower {
    /// Takes the tower's tensors out of `weights`.
    pub fn new(
        config: &VisionConfig,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        let sizes = config.sizes();
        let patch_embedding = weights.plain("v.patch_embd.weight")?.flatten_from(1)?;
        Ok(Self {
            class_embedding: weights.plain("v.class_embd")?.unsqueeze(0)?,
            patch_embedding: FloatProduct::new(&patch_embedding)?,
            position_embedding: weights.plain("v.position_embd.weight")?,
            pre_norm: LayerNorm::new("v.pre_ln", sizes.layer_norm_eps, weights)?,
            blocks: Blocks::new("v", &sizes, activation, false, weights)?,
            post_norm: LayerNorm::new("v.post_ln", sizes.layer_norm_eps, weights)?,
            projection: Linear::without_bias("visual_projection", weights)?,
            grid: config.grid(),
            patch: config.stock.patch_size,
        })
    }

    /// The projection of one image, `[projection_dim]`, f32, not normalised.
    ///
    /// `pixels` is `[3, S, S]`, f32, CHW, normalised. Pooled at the class token.
    ///
    /// # Errors
    /// `low_memory`
    pub fn forward(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let bytes = 4 * pixels.len() as u64;
        let whole = (self.grid * self.patch).pow(2) * 3 == pixels.len();
        // The pixels as a tensor; the whole patches cut out of it, if some pixels are left over; and one
        // row per patch.
        memory::probe(&[bytes, if whole { 0 } else { bytes }, bytes])?;
        self.blocks.make_room(self.grid * self.grid + 1)?;
        let patches = self.patches(pixels)?.apply_op1_no_bwd(&self.patch_embedding)?;
        let xs = Tensor::cat(&[&self.class_embedding, &patches], 0)?;
        let xs = self.pre_norm.forward(&(xs + &self.position_embedding)?)?;
        let pooled = self.blocks.forward(xs, 0)?;
        let projected = self.projection.forward(&self.post_norm.forward(&pooled)?)?;
        Ok(projected.flatten_all()?.to_vec1()?)
    }

    /// One row per patch, `[grid * grid, 3 * patch * patch]`: a convolution whose stride equals its kernel
    /// is one matrix product. Pixels beyond the last whole patch are dropped, as the convolution would.
    fn patches(&self, pixels: &[f32]) -> Result<Tensor> {
        let size = (pixels.len() / 3).isqrt();
        let (grid, patch) = (self.grid, self.patch);
        let pixels = Tensor::from_slice(pixels, (3, size, size), &Device::Cpu)?;
        let pixels = pixels.narrow(1, 0, grid * patch)?.narrow(2, 0, grid * patch)?.contiguous()?;
        let patches = pixels.reshape((3, grid, patch, grid, patch))?;
        Ok(patches
            .permute((1, 3, 0, 2, 4))?
            .contiguous()?
            .reshape((grid * grid, 3 * patch * patch))?)
    }
}
