//! The vision tower: pixels -> projection.

use candle_core::{Module, Tensor};

use super::block::{Blocks, Pooled};
use super::end::End;
use super::norm::LayerNorm;
use super::patches::PatchEmbedding;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::{Activation, VisionConfig};

/// Embeddings of patches and positions, the blocks, and the projection.
pub struct VisionTower {
    embedding: PictureEmbedding,
    blocks: Blocks,
    end: End,
}

/// From pixels to the rows of the first block.
pub struct PictureEmbedding {
    class_embedding: Tensor,
    patch_embedding: PatchEmbedding,
    position_embedding: Tensor,
    pre_norm: LayerNorm,
}

impl VisionTower {
    /// Takes the tower's tensors out of `weights`.
    pub fn new(
        config: &VisionConfig,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        let sizes = &config.sizes;
        let blocks = Blocks::new("v", sizes, activation, false, weights)?;
        Ok(Self {
            embedding: PictureEmbedding::new(config, blocks.is_float(), weights)?,
            blocks,
            end: End::new("v", "visual_projection", sizes.layer_norm_eps, weights)?,
        })
    }

    /// Rows that an image takes in a batch: its patches and the class token.
    pub fn rows(&self) -> usize {
        self.embedding.rows()
    }

    /// How many rows it computes together at most: see [`Blocks::most_rows`].
    pub fn most_rows(&self) -> usize {
        self.blocks.most_rows()
    }

    /// The projections of images, `[projection_dim]` each, f32, not normalised.
    ///
    /// `pixels` is `[images, 3, S, S]`, f32, normalised. Pooled at the class token.
    ///
    /// # Errors
    /// `low_memory`
    pub fn forward(&self, pixels: Vec<f32>, images: usize) -> Result<Vec<Vec<f32>>> {
        self.embedding.make_room(images)?;
        self.blocks.make_room(&vec![self.rows(); images])?;
        let xs = self.embedding.forward(pixels, images)?;
        let sequences: Vec<_> =
            (0..images).map(|_| Pooled { length: self.rows(), row: 0 }).collect();
        self.end.forward(&self.blocks.forward(xs, &sequences)?)
    }
}

impl PictureEmbedding {
    /// Takes its tensors out of `weights`; the patches are computed in f32 if `is_float`.
    ///
    /// # Errors
    /// `low_memory`
    pub fn new(config: &VisionConfig, is_float: bool, weights: &mut Weights) -> Result<Self> {
        let patches = weights.plain("v.patch_embd.weight")?;
        Ok(Self {
            class_embedding: weights.plain("v.class_embd")?.unsqueeze(0)?,
            patch_embedding: PatchEmbedding::new(&patches, config.grid(), is_float)?,
            position_embedding: weights.plain("v.position_embd.weight")?,
            pre_norm: LayerNorm::new("v.pre_ln", config.sizes.layer_norm_eps, weights)?,
        })
    }

    /// Rows that an image takes: its patches and the class token.
    pub fn rows(&self) -> usize {
        self.patch_embedding.rows() + 1
    }

    /// Checks that there is memory for the patches of images.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, images: usize) -> Result<()> {
        self.patch_embedding.make_room(images)
    }

    /// `pixels` `[images, 3, S, S]` to `[images * rows, width]`.
    pub fn forward(&self, pixels: Vec<f32>, images: usize) -> Result<Tensor> {
        let patches = self.patch_embedding.forward(&pixels, images)?;
        drop(pixels);
        let width = patches.dim(1)?;
        let patches = patches.reshape((images, self.patch_embedding.rows(), width))?;
        let classes = self.class_embedding.broadcast_as((images, 1, width))?;
        let xs = Tensor::cat(&[&classes, &patches], 1)?;
        let xs = xs.broadcast_add(&self.position_embedding)?;
        Ok(self.pre_norm.forward(&xs.reshape((images * self.rows(), width))?)?)
    }
}
