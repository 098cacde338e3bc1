//! The text tower: token ids -> projection.

use candle_core::{Module, Tensor};

use super::block::Blocks;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::cpu::weights::{Table, Weights};
use crate::error::Result;
use crate::model::clip::config::TextConfig;
use crate::model::clip::tokenizer::Tokens;
use crate::model::config::Activation;

/// Embeddings of tokens and positions, the blocks, and the projection.
pub struct TextTower {
    token_embedding: Table,
    position_embedding: Tensor,
    blocks: Blocks,
    post_norm: LayerNorm,
    projection: Linear,
}

impl TextTower {
    /// Takes the tower's tensors out of `weights`.
    pub fn new(config: &TextConfig, activation: Activation, weights: &mut Weights) -> Result<Self> {
        let sizes = config.sizes();
        Ok(Self {
            token_embedding: weights.table("t.token_embd.weight")?,
            position_embedding: weights.plain("t.position_embd.weight")?,
            blocks: Blocks::new("t", &sizes, activation, true, weights)?,
            post_norm: LayerNorm::new("t.post_ln", sizes.layer_norm_eps, weights)?,
            projection: Linear::without_bias("text_projection", weights)?,
        })
    }

    /// The projection of one text, `[projection_dim]`, f32, not normalised.
    ///
    /// A text is pooled at one token, and attention only looks backwards. So tokens after that one are not
    /// computed, and nothing is padded.
    ///
    /// # Errors
    /// `low_memory`
    pub fn forward(&self, tokens: &Tokens) -> Result<Vec<f32>> {
        let ids = &tokens.ids()[..=tokens.pooled()];
        let n = ids.len();
        self.blocks.make_room(n)?;
        let embedded = self.token_embedding.gather(ids)?;
        let xs = (embedded + self.position_embedding.narrow(0, 0, n)?)?;
        let pooled = self.blocks.forward(xs, n - 1)?;
        let projected = self.projection.forward(&self.post_norm.forward(&pooled)?)?;
        Ok(projected.flatten_all()?.to_vec1()?)
    }
}
