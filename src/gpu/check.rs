//! Whether a GPU computes right. Some drivers give wrong numbers without a word, so a tower is compared with the CPU's
//! vector of one known input, which a [`Witness`] has computed while the model was loading.

use super::device::unavailable;
use super::steps::FEW_ROWS;
use crate::cpu::weights::LinearRows;
use crate::cpu::witness::Witness;
use crate::error::Result;
use crate::format::gguf::TensorInfo;
use crate::model::config::{ModelConfig, Tower};
use crate::model::inventory::{Role, tower_of};
use crate::weights::{Weights, is_quantised};

use super::weights::Upload;

/// How often a known input is computed: on some GPUs only the first run is right.
const RUNS: usize = 3;

/// How many times the known input, of so many rows, is in the batch of each run. Few rows and many are computed by other
/// kernels, so that the second run has many, if the tower computes so many.
pub fn batches(rows: usize, most_rows: usize) -> [usize; RUNS] {
    let many = (FEW_ROWS as usize / rows + 1).min(most_rows / rows).max(1);
    [1, many, 1]
}

/// The least cosine of a vector to the CPU's. One that is right has 0.99999.
pub const LEAST_COSINE: f64 = 0.9999;

/// Tokens of the known text: more than a workgroup has threads, so that every loop of the kernels is run more than once.
const TOKENS: usize = 77;

/// A picture that is known: `[edge, edge, 3]`, u8, with smooth and rough parts.
pub fn known_picture(edge: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (y, x, channel) = (i / 3 / edge, i / 3 % edge, i % 3);
        (x * 3 + y * (channel + 1) + x * y / 8 + channel * 80) as u8
    };
    (0..3 * edge * edge).map(pixel).collect()
}

/// The tokens of a text that is known; the last one is pooled.
pub fn known_tokens(vocabulary: usize, context: usize) -> Vec<u32> {
    (0..TOKENS.min(context)).map(|i| ((i * 7919 + 17) % vocabulary) as u32).collect()
}

/// The CPU's computation of the known inputs.
pub struct Witnesses {
    text: Option<Witness>,
    vision: Option<Witness>,
}

impl Witnesses {
    /// For the towers of `config`; of the file's tensors, `tensors` are those that are loaded.
    pub fn new(config: &ModelConfig, tensors: &[TensorInfo]) -> Self {
        let is_float = tensors.iter().any(|info| {
            info.name.starts_with("v.blk.") && info.shape.len() == 2 && !is_quantised(info.dtype)
        });
        let text = config.text.as_ref().and_then(|text| {
            let (vocabulary, context) = (text.vocabulary, text.context);
            Witness::of_text(config, known_tokens(vocabulary, context))
        });
        let vision = config.vision.as_ref().and_then(|vision| {
            let picture = known_picture(vision.image_size);
            Witness::of_picture(config, &picture, is_float)
        });
        Self { text, vision }
    }

    /// The CPU's form of a linear weight, if a witness wants it.
    ///
    /// # Errors
    /// `low_memory`
    pub fn copy(&self, info: &TensorInfo) -> Result<Option<LinearRows>> {
        let wants = self.of(&info.name).is_some_and(|witness| witness.wants(&info.name));
        wants.then(|| LinearRows::new(info)).transpose()
    }

    /// Shows a tensor that has arrived, with this role, to the witness of its tower.
    pub fn show(&mut self, name: &str, role: Role, weights: &mut Weights<Upload>) -> Result<()> {
        let Some(witness) = self.of_mut(name).filter(|witness| witness.wants(name)) else {
            return Ok(());
        };
        match role {
            Role::Plain => match weights.get_plain(name) {
                Some(tensor) => witness.take_plain(name, tensor.clone()),
                None => Ok(()),
            },
            Role::Table => match weights.get_table(name) {
                Some(table) => witness.take_plain(name, table.gather(witness.tokens())?),
                None => Ok(()),
            },
            Role::Linear => match weights.get_linear(name).and_then(Upload::take_copy) {
                Some(rows) => witness.take_linear(name, rows),
                None => Ok(()),
            },
        }
    }

    /// The vector of a tower's known input, when all its tensors have been shown.
    pub fn vector(&mut self, tower: Tower) -> Option<Vec<f32>> {
        let witness = match tower {
            Tower::Text => self.text.take(),
            Tower::Vision => self.vision.take(),
        };
        witness?.vector()
    }

    fn of(&self, name: &str) -> Option<&Witness> {
        match tower_of(name) {
            Tower::Text => self.text.as_ref(),
            Tower::Vision => self.vision.as_ref(),
        }
    }

    fn of_mut(&mut self, name: &str) -> Option<&mut Witness> {
        match tower_of(name) {
            Tower::Text => self.text.as_mut(),
            Tower::Vision => self.vision.as_mut(),
        }
    }
}

/// Compares a tower's vectors of the known input with the CPU's, and returns the least cosine.
///
/// # Errors
/// `gpu_unavailable` if one is wrong.
pub fn compare(name: &str, expected: &[f32], vectors: &[Vec<f32>]) -> Result<f64> {
    // A vector that is not finite, or zero, has no cosine: -1 is the worst.
    let cosines = vectors.iter().map(|vector| Some(cosine(vector, expected)));
    let cosines = cosines.map(|cosine| cosine.filter(|cosine| !cosine.is_nan()).unwrap_or(-1.0));
    let least = cosines.fold(1.0, f64::min);
    if least >= LEAST_COSINE {
        return Ok(least);
    }
    Err(unavailable(format!(
        "this GPU gives wrong vectors: those of a known {name} have cosine {least:.6} to the CPU's"
    )))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
