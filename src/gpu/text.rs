//! The text tower: token ids -> projection.

use super::check::{batches, compare, known_tokens};
use super::device::Gpu;
use super::sequences::Sequence;
use super::steps::Recorder;
use super::tower::{Front, Plan, Tower, Work};
use super::weights::{Upload, bytes_of};
use crate::error::Result;
use crate::model::config::{self, ModelConfig, TextConfig};
use crate::model::tokens::Tokens;
use crate::weights::{Table, Weights};

/// Embeddings of tokens and positions, the blocks, and the projection. The embeddings stay in this program's memory, in
/// the file's type: of a table of tens of megabytes, a text reads a few rows.
pub struct TextTower {
    tower: Tower<Rows>,
    token_embedding: Table,
    /// `[context, width]`.
    positions: Vec<f32>,
    /// The tokens of the known text.
    known_tokens: Vec<u32>,
    /// The CPU's vector of it.
    known: Option<Vec<f32>>,
}

/// The rows come ready.
struct Rows;

impl Front for Rows {
    fn record(&self, _: &mut Recorder) {}
}

impl TextTower {
    /// Takes the tower's tensors out of `weights`. `known` is the CPU's vector of the known text.
    pub fn new(
        gpu: &Gpu,
        model: &ModelConfig,
        config: &TextConfig,
        weights: &mut Weights<Upload>,
        known: Option<Vec<f32>>,
    ) -> Result<Self> {
        let plan = plan(gpu, model, config);
        Ok(Self {
            token_embedding: weights.table("t.token_embd.weight")?,
            positions: weights.plain("t.position_embd.weight")?.flatten_all()?.to_vec1()?,
            known_tokens: known_tokens(config.vocabulary, config.context),
            known,
            tower: Tower::new(&plan, weights, |_, _| Ok(Rows))?,
        })
    }

    /// Compiles its kernels.
    pub fn compile(
        gpu: &Gpu,
        model: &ModelConfig,
        config: &TextConfig,
        weights: &mut Weights<Upload>,
    ) -> Result<()> {
        Tower::new(&plan(gpu, model, config), weights, |_, _| Ok(Rows))?.work(1, 1, 0)?;
        Ok(())
    }

    /// The GPU that it is on.
    pub fn gpu(&self) -> &Gpu {
        self.tower.gpu()
    }

    /// How many rows it computes together at most.
    pub fn most_rows(&self) -> usize {
        self.tower.most_rows()
    }

    /// The projections of texts, `[projection_dim]` each, f32, not normalised. Tokens after the pooled one are not
    /// computed: a CLIP's attention only looks backwards, and a SigLIP pools the last one.
    ///
    /// # Errors
    /// `low_memory`, `gpu_lost`, `gpu_unavailable`
    pub async fn forward(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<_> = texts.iter().map(|tokens| &tokens.ids()[..=tokens.pooled()]).collect();
        self.forward_ids(&ids).await
    }

    /// Like [`TextTower::forward`], for token ids of which the last is pooled.
    async fn forward_ids(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let sequences: Vec<_> =
            texts.iter().map(|ids| Sequence { length: ids.len(), pooled: ids.len() - 1 }).collect();
        let running = self.tower.run(&sequences, 0, |arena| {
            let mut rows = Vec::new();
            for ids in texts {
                let embedded = self.token_embedding.gather(ids)?.flatten_all()?.to_vec1::<f32>()?;
                rows.extend(embedded.iter().zip(&self.positions).map(|(token, at)| token + at));
            }
            self.gpu().queue().write_buffer(&arena.residual, 0, &bytes_of(&rows));
            Ok(())
        });
        running.await
    }

    /// Compares its vectors with the CPU's, and returns the least cosine; `None` if there is nothing to compare with.
    ///
    /// # Errors
    /// `gpu_unavailable` if one is wrong; those of [`TextTower::forward`].
    pub async fn check(&self) -> Result<Option<f64>> {
        let Some(known) = &self.known else { return Ok(None) };
        let mut vectors = Vec::new();
        for count in batches(self.known_tokens.len(), self.most_rows()) {
            let texts = vec![&self.known_tokens[..]; count];
            vectors.extend(self.forward_ids(&texts).await?);
        }
        compare("text", known, &vectors).map(Some)
    }

    /// How much work a batch of texts with so many rows together is.
    pub fn work(&self, rows: usize, texts: usize) -> Result<Work> {
        self.tower.work(rows, texts, 0)
    }
}

fn plan<'a>(gpu: &'a Gpu, model: &ModelConfig, config: &TextConfig) -> Plan<'a> {
    Plan {
        gpu,
        tower: config::Tower::Text,
        family: model.family,
        sizes: config.sizes,
        activation: model.activation,
        longest: config.context,
        pixel_bytes: 0,
        patch: 0,
    }
}
