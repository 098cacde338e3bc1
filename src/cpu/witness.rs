//! Computes the vector of one known input while the weights of a tower pass by, for another backend to be compared with.
//!
//! Each block is computed as soon as its weights have arrived, and dropped, so that the tower is never whole in this
//! program's memory: if a file has its tensors in the order of computation, as ours do, one block at a time is.

use candle_core::Tensor;

use super::block::Block;
use super::end::{AttentionPool, End};
use super::kernels::attention::Sequence;
use super::vision::PictureEmbedding;
use crate::cpu::weights::{LinearRows, Weights};
use crate::error::Result;
use crate::model::config::{Activation, Family, LayerSizes, ModelConfig, Tower, VisionConfig};
use crate::model::inventory::tower_of;
use crate::model::tensors::tensors;

/// The tokens' embeddings.
const TABLE: &str = "t.token_embd.weight";

/// One tower, and the known input on its way through it.
pub struct Witness {
    sizes: LayerSizes,
    family: Family,
    activation: Activation,
    input: Input,
    /// What has arrived and was not computed with.
    weights: Weights,
    /// The names that each stage still waits for: the start, each block, the end.
    waiting: Vec<Vec<String>>,
    /// The next stage.
    stage: usize,
    /// The rows so far.
    rows: Option<Tensor>,
    vector: Option<Vec<f32>>,
}

/// The input that is known.
enum Input {
    /// Tokens; the last one is pooled.
    Text(Vec<u32>),
    /// `[3, S, S]`, normalised. The patches are computed in f32 if `is_float`.
    Picture { pixels: Vec<f32>, config: Box<VisionConfig>, is_float: bool },
}

impl Witness {
    /// For the text tower, with these tokens; `None` if there is none.
    pub fn of_text(config: &ModelConfig, ids: Vec<u32>) -> Option<Self> {
        let sizes = config.text.as_ref()?.sizes;
        Some(Self::new(config, Tower::Text, sizes, Input::Text(ids)))
    }

    /// For the vision tower, with this square of pixels; `None` if there is none. `is_float` says whether some layer of
    /// the tower is computed in f32.
    pub fn of_picture(config: &ModelConfig, square: &[u8], is_float: bool) -> Option<Self> {
        let vision = config.vision.as_ref()?;
        let pixels = vision.preprocess.normalise(square);
        let input = Input::Picture { pixels, config: Box::new(vision.clone()), is_float };
        Some(Self::new(config, Tower::Vision, vision.sizes, input))
    }

    fn new(config: &ModelConfig, tower: Tower, sizes: LayerSizes, input: Input) -> Self {
        let mut waiting = vec![Vec::new(); sizes.layers + 2];
        for expected in tensors(config).into_iter().filter(|one| tower_of(&one.name) == tower) {
            let name = expected.name;
            let stage = match name.split_once(".blk.") {
                Some((_, rest)) => {
                    let layer: usize =
                        rest.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                    layer + 1
                }
                None if ["post_ln", "projection", ".head."]
                    .iter()
                    .any(|end| name.contains(end)) =>
                {
                    sizes.layers + 1
                }
                None => 0,
            };
            waiting[stage].push(name);
        }
        Self {
            sizes,
            family: config.family,
            activation: config.activation,
            input,
            weights: Weights::default(),
            waiting,
            stage: 0,
            rows: None,
            vector: None,
        }
    }

    /// Whether the tensor belongs to its tower.
    pub fn wants(&self, name: &str) -> bool {
        self.waiting.iter().flatten().any(|waiting| waiting == name)
    }

    /// The tokens whose embeddings it takes in place of the whole table.
    pub fn tokens(&self) -> &[u32] {
        match &self.input {
            Input::Text(ids) => ids,
            Input::Picture { .. } => &[],
        }
    }

    /// Takes a tensor that is used unchanged, or the embeddings of [`Witness::tokens`], and computes what it can.
    pub fn take_plain(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        self.weights.put_plain(name, tensor);
        self.arrived(name)
    }

    /// Takes the weight of a linear layer, and computes what it can.
    pub fn take_linear(&mut self, name: &str, rows: LinearRows) -> Result<()> {
        self.weights.put_linear(name, rows);
        self.arrived(name)
    }

    /// The vector, `[projection_dim]`, not normalised, when all weights have arrived.
    pub fn vector(self) -> Option<Vec<f32>> {
        self.vector
    }

    fn arrived(&mut self, name: &str) -> Result<()> {
        for names in &mut self.waiting {
            names.retain(|waiting| waiting != name);
        }
        while self.waiting.get(self.stage).is_some_and(Vec::is_empty) {
            self.compute()?;
            self.stage += 1;
        }
        Ok(())
    }

    fn compute(&mut self) -> Result<()> {
        let is_text = matches!(self.input, Input::Text(_));
        let tower = if is_text { "t" } else { "v" };
        let Some(rows) = self.rows.take() else {
            self.rows = Some(self.start()?);
            return Ok(());
        };
        if self.stage > self.sizes.layers {
            let vectors = if is_text || self.family == Family::Clip {
                let projection = if is_text { "text_projection" } else { "visual_projection" };
                let eps = self.sizes.layer_norm_eps;
                End::new(self.family, tower, projection, eps, &mut self.weights)?.forward(&rows)
            } else {
                let pool = AttentionPool::new(&self.sizes, self.activation, &mut self.weights)?;
                pool.forward(&rows, 1, rows.dim(0)?)
            };
            self.vector = Some(vectors?.remove(0));
            return Ok(());
        }
        let name = format!("{tower}.blk.{}", self.stage - 1);
        let is_causal = is_text && self.family == Family::Clip;
        let block = Block::new(&name, &self.sizes, self.activation, is_causal, &mut self.weights)?;
        let n = rows.dim(0)?;
        let is_whole = !is_text && self.family == Family::Siglip;
        self.rows = Some(if self.stage < self.sizes.layers || is_whole {
            block.forward(rows, &[Sequence::whole(0..n)])?
        } else {
            let pooled = if is_text { n - 1 } else { 0 };
            block.forward_pooled(&rows, &[Sequence::of_row(0..n, pooled)])?
        });
        Ok(())
    }

    /// The rows of the first block.
    fn start(&mut self) -> Result<Tensor> {
        match &mut self.input {
            Input::Text(ids) => {
                let positions = self.weights.plain("t.position_embd.weight")?;
                Ok((self.weights.plain(TABLE)? + positions.narrow(0, 0, ids.len())?)?)
            }
            Input::Picture { pixels, config, is_float } => {
                let embedding =
                    PictureEmbedding::new(self.family, config, *is_float, &mut self.weights)?;
                embedding.make_room(1)?;
                embedding.forward(std::mem::take(pixels), 1)
            }
        }
    }
}
