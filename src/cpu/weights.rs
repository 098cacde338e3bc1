//! The forms in which the CPU keeps the weight of a linear layer.

mod packer;

use candle_core::Tensor;

use crate::cpu::kernels::Int8Matrix;
use crate::error::Result;
use crate::format::gguf::TensorInfo;
use crate::model::inventory::Role;
use crate::weights::{self, PlainRows, is_quantised};
use packer::Packer;

/// The tensors of a model.
pub type Weights = weights::Weights<LinearRows>;

/// A tensor that is being loaded.
pub type Incoming = weights::Incoming<LinearRows>;

/// A tensor none of whose bytes have arrived yet.
///
/// # Errors
/// `low_memory` if there is no memory for its resident form.
pub fn incoming(info: &TensorInfo, role: Role) -> Result<Incoming> {
    Incoming::new(info, role, LinearRows::new)
}

/// A linear weight in one of its two resident forms; the file's type decides which.
pub enum LinearWeight {
    /// `[out, in]`, f32.
    Float(Tensor),
    /// Packed for the kernels.
    Int8(Int8Matrix),
}

/// A linear weight whose rows arrive.
pub enum LinearRows {
    /// Of a float type.
    Float(PlainRows),
    /// Of a quantised type.
    Int8(Packer),
}

impl LinearRows {
    /// A weight none of whose rows have arrived.
    ///
    /// # Errors
    /// `low_memory`
    pub fn new(info: &TensorInfo) -> Result<Self> {
        Ok(match is_quantised(info.dtype) {
            true => Self::Int8(Packer::new(info)?),
            false => Self::Float(PlainRows::new(info)?),
        })
    }

    /// The weight, when every row has arrived.
    pub fn finish(self) -> Result<LinearWeight> {
        Ok(match self {
            Self::Float(rows) => LinearWeight::Float(rows.finish()?),
            Self::Int8(packer) => LinearWeight::Int8(packer.finish()),
        })
    }
}

impl weights::LinearWeight for LinearRows {
    fn push(&mut self, rows: &[u8]) -> Result<()> {
        match self {
            Self::Float(plain) => plain.push(rows),
            Self::Int8(packer) => packer.push(rows),
        }
    }
}
