//! The vision tower: pixels -> projection.

use candle_core::{Module, Tensor};

use super::block::{Blocks, Pooled};
use super::end::{AttentionPool, End};
use super::norm::LayerNorm;
use super::patches::PatchEmbedding;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::{Activation, Family, VisionConfig};

/// Embeddings of patches and positions, the blocks, and the projection.
pub struct VisionTower {
    embedding: PictureEmbedding,
    blocks: Blocks,
    end: VisionEnd,
}

/// How an image is pooled.
#[allow(clippy::large_enum_variant, reason = "a tower has one")]
enum VisionEnd {
    /// At the class token: CLIP.
    Class(End),
    /// By attention: SigLIP.
    Attention(AttentionPool),
}

/// From pixels to the rows of the first block.
pub struct PictureEmbedding {
    patch_embedding: PatchEmbedding,
    /// With the bias of the patches, if they have one.
    position_embedding: Tensor,
    /// Of a CLIP.
    class: Option<ClassToken>,
}

/// What a CLIP adds to an image's patches.
struct ClassToken {
    embedding: Tensor,
    pre_norm: LayerNorm,
}

impl VisionTower {
    /// Takes the tower's tensors out of `weights`.
    pub fn new(
        family: Family,
        config: &VisionConfig,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        let sizes = &config.sizes;
        let blocks = Blocks::new("v", sizes, activation, false, weights)?;
        Ok(Self {
            embedding: PictureEmbedding::new(family, config, blocks.is_float(), weights)?,
            blocks,
            end: match family {
                Family::Clip => {
                    let eps = sizes.layer_norm_eps;
                    VisionEnd::Class(End::new(family, "v", "visual_projection", eps, weights)?)
                }
                Family::Siglip => {
                    VisionEnd::Attention(AttentionPool::new(sizes, activation, weights)?)
                }
            },
        })
    }

    /// Rows that an image takes in a batch: its patches, and the class token if there is one.
    pub fn rows(&self) -> usize {
        self.embedding.rows()
    }

    /// How many rows it computes together at most: see [`Blocks::most_rows`].
    pub fn most_rows(&self) -> usize {
        self.blocks.most_rows()
    }

    /// The projections of images, `[projection_dim]` each, f32, not normalised.
    ///
    /// `pixels` is `[images, 3, S, S]`, f32, normalised.
    ///
    /// # Errors
    /// `low_memory`
    pub fn forward(&self, pixels: Vec<f32>, images: usize) -> Result<Vec<Vec<f32>>> {
        self.embedding.make_room(images)?;
        self.blocks.make_room(&vec![self.rows(); images])?;
        let rows = self.rows();
        match &self.end {
            VisionEnd::Class(end) => {
                let xs = self.embedding.forward(pixels, images)?;
                let sequences: Vec<_> =
                    (0..images).map(|_| Pooled { length: rows, row: 0 }).collect();
                end.forward(&self.blocks.forward(xs, &sequences)?)
            }
            VisionEnd::Attention(pool) => {
                pool.make_room(images, rows)?;
                let xs = self.embedding.forward(pixels, images)?;
                pool.forward(&self.blocks.forward_all(xs, &vec![rows; images])?, images, rows)
            }
        }
    }
}

impl PictureEmbedding {
    /// Takes its tensors out of `weights`; the patches are computed in f32 if `is_float`.
    ///
    /// # Errors
    /// `low_memory`
    pub fn new(
        family: Family,
        config: &VisionConfig,
        is_float: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        let patches = weights.plain("v.patch_embd.weight")?;
        let positions = weights.plain("v.position_embd.weight")?;
        let patch_embedding = PatchEmbedding::new(&patches, config.grid(), is_float)?;
        Ok(match family {
            Family::Clip => Self {
                patch_embedding,
                position_embedding: positions,
                class: Some(ClassToken {
                    embedding: weights.plain("v.class_embd")?.unsqueeze(0)?,
                    pre_norm: LayerNorm::new("v.pre_ln", config.sizes.layer_norm_eps, weights)?,
                }),
            },
            Family::Siglip => {
                let bias = weights.plain("v.patch_embd.bias")?;
                let position_embedding = positions.broadcast_add(&bias)?;
                Self { patch_embedding, position_embedding, class: None }
            }
        })
    }

    /// Rows that an image takes: its patches, and the class token if there is one.
    pub fn rows(&self) -> usize {
        self.patch_embedding.rows() + usize::from(self.class.is_some())
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
        let rows = (images * self.rows(), width);
        let Some(ClassToken { embedding, pre_norm }) = &self.class else {
            return Ok(patches.broadcast_add(&self.position_embedding)?.reshape(rows)?);
        };
        let classes = embedding.broadcast_as((images, 1, width))?;
        let xs = Tensor::cat(&[&classes, &patches], 1)?;
        let xs = xs.broadcast_add(&self.position_embedding)?;
        Ok(pre_norm.forward(&xs.reshape(rows)?)?)
    }
}
