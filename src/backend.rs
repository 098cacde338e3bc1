//! Where a model is computed: on the CPU, or on a GPU if this crate is built with the feature `gpu`. Only this file knows
//! that there are two.

use crate::cpu;
use crate::cpu::weights::incoming;
use crate::error::Result;
use crate::format::gguf::TensorInfo;
#[cfg(feature = "gpu")]
use crate::gpu::{self, Gpu, ready};
use crate::model::config::ModelConfig;
use crate::model::inventory::Role;
use crate::model::tokens::Tokens;
use crate::preprocess::Preprocess;

/// What a model is loaded onto.
#[derive(Clone, Default)]
pub enum Backend {
    #[default]
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

/// The tensors that have arrived.
pub enum Weights {
    Cpu(cpu::weights::Weights),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::Loading>),
}

/// A tensor that is being loaded, in pieces of any size.
pub enum Incoming {
    Cpu(cpu::weights::Incoming),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::Incoming>),
}

/// Both towers, or the only one the file has.
#[derive(Default)]
pub struct ClipModel {
    pub text: Option<TextTower>,
    pub vision: Option<VisionTower>,
}

#[allow(clippy::large_enum_variant, reason = "a model has one")]
pub enum TextTower {
    Cpu(cpu::TextTower),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::TextTower>),
}

#[allow(clippy::large_enum_variant, reason = "a model has one")]
pub enum VisionTower {
    Cpu(cpu::VisionTower),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::VisionTower>),
}

impl Backend {
    /// No tensors yet of a model whose file has these tensors.
    #[cfg_attr(not(feature = "gpu"), allow(unused_variables))]
    ///
    /// # Errors
    /// Of a GPU: `gpu_unavailable`, `gpu_lost`, `low_memory`; `internal` if a kernel is invalid.
    pub fn weights(&self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<Weights> {
        match self {
            Self::Cpu => Ok(Weights::Cpu(Default::default())),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => {
                let loading = gpu::Loading::new(gpu.clone(), config, tensors)?;
                Ok(Weights::Gpu(Box::new(loading)))
            }
        }
    }
}

impl Weights {
    /// A tensor none of whose bytes have arrived yet.
    ///
    /// # Errors
    /// `low_memory` if there is no memory for its resident form.
    pub fn incoming(&mut self, info: &TensorInfo, role: Role) -> Result<Incoming> {
        match self {
            Self::Cpu(_) => incoming(info, role).map(Incoming::Cpu),
            #[cfg(feature = "gpu")]
            Self::Gpu(loading) => {
                let incoming = loading.incoming(info, role)?;
                Ok(Incoming::Gpu(Box::new(incoming)))
            }
        }
    }

    /// Adds a tensor that is complete.
    pub fn insert(&mut self, incoming: Incoming) -> Result<()> {
        match (self, incoming) {
            (Self::Cpu(weights), Incoming::Cpu(incoming)) => weights.insert(incoming),
            #[cfg(feature = "gpu")]
            (Self::Gpu(loading), Incoming::Gpu(incoming)) => loading.insert(*incoming),
            #[cfg(feature = "gpu")]
            _ => unreachable!("a tensor is inserted where it was made"),
        }
    }

    /// The towers of `config`, whose tensors are taken out.
    ///
    /// # Errors
    /// `missing_tensor` if there is one that `config` requires.
    pub fn model(&mut self, config: &ModelConfig) -> Result<ClipModel> {
        match self {
            Self::Cpu(weights) => {
                let cpu::ClipModel { text, vision } = cpu::ClipModel::new(config, weights)?;
                Ok(ClipModel {
                    text: text.map(TextTower::Cpu),
                    vision: vision.map(VisionTower::Cpu),
                })
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(loading) => {
                let gpu::ClipModel { text, vision } = loading.model(config)?;
                Ok(ClipModel {
                    text: text.map(|tower| TextTower::Gpu(Box::new(tower))),
                    vision: vision.map(|tower| VisionTower::Gpu(Box::new(tower))),
                })
            }
        }
    }
}

impl Incoming {
    /// Number of bytes that have not arrived yet.
    pub fn missing(&self) -> u64 {
        match self {
            Self::Cpu(incoming) => incoming.missing(),
            #[cfg(feature = "gpu")]
            Self::Gpu(incoming) => incoming.missing(),
        }
    }

    /// Adds the next bytes; there must not be more than are missing.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Cpu(incoming) => incoming.push(bytes),
            #[cfg(feature = "gpu")]
            Self::Gpu(incoming) => incoming.push(bytes),
        }
    }
}

impl TextTower {
    /// Rows that a text takes in a batch.
    pub fn rows(tokens: &Tokens) -> usize {
        tokens.pooled() + 1
    }

    /// How many rows are computed together at most.
    pub fn most_rows(&self) -> usize {
        match self {
            Self::Cpu(tower) => tower.most_rows(),
            #[cfg(feature = "gpu")]
            Self::Gpu(tower) => tower.most_rows(),
        }
    }

    /// The projections of texts, `[projection_dim]` each, f32, not normalised.
    ///
    /// # Errors
    /// `low_memory`; on a GPU `gpu_lost`, and in a browser `internal`: see [`TextTower::start`].
    pub fn forward(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(tower) => tower.forward(texts),
            #[cfg(feature = "gpu")]
            Self::Gpu(tower) => ready(tower.forward(texts)),
        }
    }

    /// Like [`TextTower::forward`], but a GPU is awaited.
    #[cfg(feature = "gpu")]
    pub async fn start(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(tower) => tower.forward(texts),
            Self::Gpu(tower) => tower.forward(texts).await,
        }
    }
}

#[cfg(feature = "gpu")]
impl ClipModel {
    /// Compares the towers that are on a GPU with the CPU, and returns the least cosine; `None` if none is.
    ///
    /// # Errors
    /// `gpu_unavailable` if a vector is wrong; `gpu_lost`, `low_memory`.
    pub async fn check(&self) -> Result<Option<f64>> {
        let text = match &self.text {
            Some(TextTower::Gpu(tower)) => tower.check().await?,
            _ => None,
        };
        let vision = match &self.vision {
            Some(VisionTower::Gpu(tower)) => tower.check().await?,
            _ => None,
        };
        Ok(text.into_iter().chain(vision).reduce(f64::min))
    }
}

#[cfg(feature = "gpu")]
impl TextTower {
    /// The GPU it is on, if it is.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(tower) => Some(tower.gpu()),
        }
    }
}

#[cfg(feature = "gpu")]
impl VisionTower {
    /// The GPU it is on, if it is.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(tower) => Some(tower.gpu()),
        }
    }
}

impl VisionTower {
    /// Rows that an image takes in a batch.
    pub fn rows(&self) -> usize {
        match self {
            Self::Cpu(tower) => tower.rows(),
            #[cfg(feature = "gpu")]
            Self::Gpu(tower) => tower.rows(),
        }
    }

    /// How many rows are computed together at most.
    pub fn most_rows(&self) -> usize {
        match self {
            Self::Cpu(tower) => tower.most_rows(),
            #[cfg(feature = "gpu")]
            Self::Gpu(tower) => tower.most_rows(),
        }
    }

    /// The projections of images, `[projection_dim]` each, f32, not normalised. `images` are `[S, S, 3]`, u8, each.
    ///
    /// # Errors
    /// `low_memory`; on a GPU `gpu_lost`, and in a browser `internal`: see [`VisionTower::start`].
    pub fn forward<P: AsRef<[u8]>>(
        &self,
        preprocess: &Preprocess,
        images: &[P],
    ) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(tower) => normalised(tower, preprocess, images),
            #[cfg(feature = "gpu")]
            Self::Gpu(tower) => ready(tower.forward(images)),
        }
    }

    /// Like [`VisionTower::forward`], but a GPU is awaited.
    #[cfg(feature = "gpu")]
    pub async fn start<P: AsRef<[u8]>>(
        &self,
        preprocess: &Preprocess,
        images: &[P],
    ) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(tower) => normalised(tower, preprocess, images),
            Self::Gpu(tower) => tower.forward(images).await,
        }
    }
}

fn normalised<P: AsRef<[u8]>>(
    tower: &cpu::VisionTower,
    preprocess: &Preprocess,
    images: &[P],
) -> Result<Vec<Vec<f32>>> {
    preprocess.make_room_to_normalise(images.len())?;
    tower.forward(preprocess.normalise_all(images), images.len())
}
