//! Cuts a checkpoint's tensors into pieces small enough to hold in memory; each is converted on its own.

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use safetensors::Dtype;

use crate::convert::plan::{Plan, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::format::weights::{Check, Header, malformed};
use crate::memory;
use crate::model::inventory::Change;

/// Maximum number of elements in a piece that is not transposed: 256 KiB in f32. Blocks lie along rows, and
/// rows follow one another, so any number of whole blocks gives the same bytes as the whole tensor.
const ELEMENTS: usize = 1 << 16;

/// A part of a file of weights that must be read.
pub enum Part {
    /// Bytes that prove that the values after them are the expected ones.
    Check(Check),
    /// Values.
    Piece(Piece),
}

/// Consecutive elements in a file of weights that become consecutive bytes of the GGUF.
pub struct Piece {
    /// Its position in the file of weights.
    pub bytes: Range<u64>,
    dtype: Dtype,
    /// The index of its [`Target`].
    pub target: usize,
    /// Its position in the GGUF, in bytes.
    pub offset: u64,
}

/// The plan's pieces that a file contains, in file order.
///
/// # Errors
/// `malformed_model` or `unsupported_model`; the message names the tensor whose shape or type is invalid.
pub fn cut(plan: &mut Plan, header: &Header) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (index, target) in plan.targets.iter_mut().enumerate() {
        let name = &target.source.name;
        let Some(tensor) = header.get(name) else { continue };
        if std::mem::replace(&mut target.found, true) {
            return Err(malformed(format!("tensor {name} is also in another file")));
        }
        let shape = target.source_shape();
        if !tensor.row_major {
            let message = format!(
                "tensor {name} is not contiguous; save the checkpoint with its tensors made contiguous(), or as safetensors"
            );
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
        if tensor.shape != shape {
            let message = format!(
                "tensor {name} has shape {:?} where the configuration requires {shape:?}",
                tensor.shape
            );
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        let Some(width) = width(tensor.dtype) else {
            let message = format!(
                "tensor {name} is stored as {}; only F32, F16 and BF16 are converted",
                tensor.dtype
            );
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        };
        let elements = target.elements();
        let (first, step) = match target.source.change {
            Change::None | Change::Squeeze => (0, ELEMENTS),
            Change::Third(part) | Change::Half(part) => (part * elements, ELEMENTS),
            Change::Transpose => (0, elements),
        };
        for start in (0..elements).step_by(step) {
            let end = elements.min(start + step);
            let at = |element| tensor.bytes.start + ((first + element) * width) as u64;
            let skipped = start / target.info.dtype.block_size() * target.info.dtype.type_size();
            pieces.push(Piece {
                bytes: at(start)..at(end),
                dtype: tensor.dtype,
                target: index,
                offset: target.info.offset + skipped as u64,
            });
        }
    }
    pieces.sort_by_key(|piece| piece.bytes.start);
    for pair in pieces.windows(2) {
        if pair[1].bytes.start < pair[0].bytes.end {
            let [one, other] = [0, 1].map(|at| &plan.targets[pair[at].target].source.name);
            let message = format!("tensors {one} and {other} share values; this is not supported");
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
    }
    Ok(pieces)
}

/// Inserts the checks before the pieces that depend on them; both are in file order.
pub fn with_checks(pieces: Vec<Piece>, checks: &[Check]) -> VecDeque<Part> {
    let mut parts = VecDeque::new();
    let mut checks = checks.iter().peekable();
    for piece in pieces {
        let mut last = None;
        while let Some(check) = checks.next_if(|check| check.bytes.start <= piece.bytes.start) {
            last = Some(check);
        }
        parts.extend(last.cloned().map(Part::Check));
        parts.push_back(Part::Piece(piece));
    }
    parts
}

impl Part {
    /// Its position in the file of weights.
    pub fn bytes(&self) -> &Range<u64> {
        match self {
            Self::Check(check) => &check.bytes,
            Self::Piece(piece) => &piece.bytes,
        }
    }
}

impl Piece {
    /// Its position in the GGUF, in bytes; includes the padding if it is the tensor's last piece.
    pub fn stored(&self, target: &Target) -> Range<u64> {
        let width = width(self.dtype).expect("checked when it was cut") as u64;
        let (elements, dtype) = ((self.bytes.end - self.bytes.start) / width, target.info.dtype);
        let size = elements / dtype.block_size() as u64 * dtype.type_size() as u64;
        let end = self.offset + size;
        self.offset..if end == target.stored().end { target.end() } else { end }
    }

    /// Converts its bytes to the type of `target`, which is the target it belongs to.
    pub fn convert(&self, bytes: &[u8], target: &Target) -> Result<QTensor> {
        // The values, their transposed copy, a copy for quantising, and the result.
        let values_bytes = 4 * target_elements(bytes, self.dtype);
        memory::probe(&[values_bytes, values_bytes, values_bytes, values_bytes])?;
        let values = values(self.dtype, bytes);
        let tensor = match target.source.change {
            Change::None | Change::Squeeze | Change::Third(_) | Change::Half(_) => {
                let elements = values.len();
                Tensor::from_vec(values, elements, &Device::Cpu)?
            }
            Change::Transpose => {
                let shape = target.source_shape();
                Tensor::from_vec(values, shape, &Device::Cpu)?.t()?.contiguous()?
            }
        };
        Ok(QTensor::quantize(&tensor, target.info.dtype)?)
    }
}

fn target_elements(bytes: &[u8], dtype: Dtype) -> u64 {
    bytes.len() as u64 / width(dtype).expect("checked when it was cut") as u64
}

/// Bytes per element of the types that are supported.
pub fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F32 => Some(4),
        Dtype::F16 | Dtype::BF16 => Some(2),
        _ => None,
    }
}

pub fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F16 => pairs.map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
        Dtype::BF16 => pairs.map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
    }
}
