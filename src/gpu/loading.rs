//! A model on its way to the GPU.

use super::ahead;
use super::check::Witnesses;
use super::device::Gpu;
use super::text::TextTower;
use super::vision::VisionTower;
use super::weights::{Matrices, Upload};
use crate::error::Result;
use crate::format::gguf::TensorInfo;
use crate::model::config::{ModelConfig, Tower};
use crate::model::inventory::Role;
use crate::weights::{Incoming, Weights};

/// The tensors that have arrived.
pub struct Loading {
    gpu: Gpu,
    weights: Weights<Upload>,
    matrices: Matrices,
    witnesses: Witnesses,
}

/// Both towers, or the only one the file has.
pub struct ClipModel {
    pub text: Option<TextTower>,
    pub vision: Option<VisionTower>,
}

impl Loading {
    /// Nothing has arrived of a model whose file has these tensors; its kernels are compiled.
    ///
    /// # Errors
    /// Those of [`ahead::compile`].
    pub fn new(gpu: Gpu, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<Self> {
        ahead::compile(&gpu, config, tensors)?;
        Ok(Self {
            gpu,
            weights: Weights::default(),
            matrices: Matrices::default(),
            witnesses: Witnesses::new(config, tensors),
        })
    }

    /// A tensor none of whose bytes have arrived yet.
    ///
    /// # Errors
    /// `low_memory`, `gpu_lost`; `gpu_unavailable` if a shader cannot read so much.
    pub fn incoming(&mut self, info: &TensorInfo, role: Role) -> Result<Incoming<Upload>> {
        Incoming::new(info, role, |info| {
            let copy = self.witnesses.copy(info)?;
            self.matrices.upload(&self.gpu, info, copy)
        })
    }

    /// Adds a tensor that is complete.
    pub fn insert(&mut self, incoming: Incoming<Upload>) -> Result<()> {
        let (name, role) = (incoming.name().to_owned(), incoming.role());
        self.weights.insert(incoming)?;
        self.witnesses.show(&name, role, &mut self.weights)
    }

    /// The towers of `config`, whose tensors have all arrived.
    pub fn model(&mut self, config: &ModelConfig) -> Result<ClipModel> {
        let Self { gpu, weights, witnesses, .. } = self;
        let mut known = |tower| witnesses.vector(tower);
        let (text, vision) = (config.text.as_ref(), config.vision.as_ref());
        Ok(ClipModel {
            text: text
                .map(|c| TextTower::new(gpu, config, c, weights, known(Tower::Text)))
                .transpose()?,
            vision: vision
                .map(|c| VisionTower::new(gpu, config, c, weights, known(Tower::Vision)))
                .transpose()?,
        })
    }
}
