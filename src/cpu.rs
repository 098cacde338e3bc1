//! The CPU towers. They mirror `candle_transformers::models::clip`, which is the oracle for their layers,
//! and add what it lacks: GELU and quantised weights. They also skip work whose result nobody reads.

mod attention;
mod block;
mod end;
// Public for the benchmarks only; not part of the stable API.
#[doc(hidden)]
#[allow(unsafe_code, reason = "SIMD reads and writes by pointers, and threads share a result")]
pub mod kernels;
mod linear;
mod norm;
mod pace;
mod patches;
mod text;
mod vision;
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) mod warm_up;
pub(crate) mod weights;
#[cfg(feature = "gpu")]
pub(crate) mod witness;

use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::model::config::ModelConfig;

pub(crate) use text::TextTower;
pub(crate) use vision::VisionTower;

/// The most rows that it pays to compute together: more need more memory and are hardly faster.
pub(crate) const MOST_ROWS: usize = 400;

/// Both towers, or the only one the file has.
pub struct ClipModel {
    /// `None` if the file has no text tower.
    pub text: Option<TextTower>,
    /// `None` if the file has no vision tower.
    pub vision: Option<VisionTower>,
}

impl ClipModel {
    /// Takes the tensors of `config`'s towers out of `weights`.
    ///
    /// # Errors
    /// `missing_tensor` if `weights` lacks a tensor that `config` requires.
    pub fn new(config: &ModelConfig, weights: &mut Weights) -> Result<Self> {
        let activation = config.activation;
        let text = config.text.as_ref();
        let vision = config.vision.as_ref();
        Ok(Self {
            text: text
                .map(|c| TextTower::new(config.family, c, activation, weights))
                .transpose()?,
            vision: vision
                .map(|c| VisionTower::new(config.family, c, activation, weights))
                .transpose()?,
        })
    }
}
