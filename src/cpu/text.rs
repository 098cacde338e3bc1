//! The text tower: token ids -> projection.

use candle_core::Tensor;

use super::block::{Blocks, Pooled};
use super::end::End;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::{Activation, Family, TextConfig};
use crate::model::tokens::Tokens;
use crate::weights::Table;

/// Embeddings of tokens and positions, the blocks, and the projection.
pub struct TextTower {
    token_embedding: Table,
    position_embedding: Tensor,
    blocks: Blocks,
    end: End,
}

impl TextTower {
    /// Takes the tower's tensors out of `weights`.
    pub fn new(
        family: Family,
        config: &TextConfig,
        activation: Activation,
        weights: &mut Weights,
    ) -> Result<Self> {
        let sizes = &config.sizes;
        Ok(Self {
            token_embedding: weights.table("t.token_embd.weight")?,
            position_embedding: weights.plain("t.position_embd.weight")?,
            blocks: Blocks::new("t", sizes, activation, family == Family::Clip, weights)?,
            end: End::new(family, "t", "text_projection", sizes.layer_norm_eps, weights)?,
        })
    }

    /// Rows that a text takes in a batch.
    pub fn rows(tokens: &Tokens) -> usize {
        tokens.pooled() + 1
    }

    /// How many rows it computes together at most: see [`Blocks::most_rows`].
    pub fn most_rows(&self) -> usize {
        self.blocks.most_rows()
    }

    /// The projections of texts, `[projection_dim]` each, f32, not normalised.
    ///
    /// A CLIP's text is pooled at one token, and attention only looks backwards. So tokens after that one are not
    /// computed, and nothing is padded. A SigLIP's tokens see each other and their padding, and the last one is pooled.
    ///
    /// # Errors
    /// `low_memory`
    pub fn forward(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        let lengths: Vec<usize> = texts.iter().map(Self::rows).collect();
        self.blocks.make_room(&lengths)?;
        let ids: Vec<u32> =
            texts.iter().flat_map(|tokens| &tokens.ids()[..Self::rows(tokens)]).copied().collect();
        let positions = lengths.iter().map(|n| self.position_embedding.narrow(0, 0, *n));
        let positions = Tensor::cat(&positions.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let xs = (self.token_embedding.gather(&ids)? + positions)?;
        let sequences: Vec<_> = lengths.iter().map(|n| Pooled { length: *n, row: n - 1 }).collect();
        self.end.forward(&self.blocks.forward(xs, &sequences)?)
    }
}
