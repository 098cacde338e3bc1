//! Turns the bytes of tensors into the forms the towers keep in memory.

mod packer;

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::cpu::kernels::{BLOCK, Int8Matrix, PANEL};
use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};
use crate::memory;
use crate::model::config::missing;
use crate::model::inventory::Role;
use packer::Packer;

/// The tensors of a model by canonical name, each in its resident form.
#[derive(Default)]
pub struct Weights {
    plain: HashMap<String, Tensor>,
    packed: HashMap<String, Int8Matrix>,
    tables: HashMap<String, Table>,
}

/// A linear weight in one of its two resident forms; the file's type decides which.
pub enum LinearWeight {
    /// `[out, in]`, f32.
    Float(Tensor),
    /// Packed for the kernels.
    Int8(Int8Matrix),
}

/// A table `[rows, width]`, stored as in the file; rows are dequantised when they are read.
pub struct Table {
    dtype: GgmlDType,
    width: usize,
    bytes: Vec<u8>,
}

/// A tensor that is being loaded, in pieces of any size. Its bytes are converted to the resident form as
/// they arrive, so that only a few rows of the file are in memory at a time.
pub struct Incoming {
    name: String,
    form: Form,
    missing: u64,
    /// Bytes of a group of rows that is not complete yet.
    partial: Vec<u8>,
    /// Bytes in such a group.
    group: usize,
}

enum Form {
    Packed(Packer),
    Table(Table),
    Plain { dtype: GgmlDType, shape: Vec<usize>, values: Vec<f32> },
}

impl Weights {
    /// Adds a tensor that is complete.
    pub fn insert(&mut self, incoming: Incoming) -> Result<()> {
        let name = incoming.name;
        match incoming.form {
            Form::Packed(packer) => {
                self.packed.insert(name, packer.finish());
            }
            Form::Table(table) => {
                self.tables.insert(name, table);
            }
            Form::Plain { shape, values, .. } => {
                self.plain.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
            }
        }
        Ok(())
    }

    /// Removes and returns a tensor that is used unchanged, in f32.
    ///
    /// # Errors
    /// `missing_tensor` if it is not there.
    pub fn plain(&mut self, name: &str) -> Result<Tensor> {
        self.plain.remove(name).ok_or_else(|| missing(name))
    }

    /// Removes and returns the weight of a linear layer.
    ///
    /// # Errors
    /// `missing_tensor` if it is not there.
    pub fn linear(&mut self, name: &str) -> Result<LinearWeight> {
        match self.packed.remove(name) {
            Some(packed) => Ok(LinearWeight::Int8(packed)),
            None => Ok(LinearWeight::Float(self.plain(name)?)),
        }
    }

    /// Removes and returns a table.
    ///
    /// # Errors
    /// `missing_tensor` if it is not there.
    pub fn table(&mut self, name: &str) -> Result<Table> {
        self.tables.remove(name).ok_or_else(|| missing(name))
    }
}

impl Incoming {
    /// A tensor none of whose bytes have arrived yet.
    ///
    /// # Errors
    /// `low_memory` if there is no memory for its resident form.
    pub fn new(info: &TensorInfo, role: Role) -> Result<Self> {
        let width = info.shape.last().copied().unwrap_or(1);
        let row = byte_size(info.dtype, &[width]).expect("checked with the header");
        let form = match role {
            Role::Linear if is_quantised(info.dtype) => Form::Packed(Packer::new(info)?),
            Role::Table => {
                Form::Table(Table { dtype: info.dtype, width, bytes: memory::reserved(info.size)? })
            }
            Role::Linear | Role::Plain => Form::Plain {
                dtype: info.dtype,
                shape: info.shape.clone(),
                values: memory::reserved(elements(info))?,
            },
        };
        Ok(Self {
            name: info.name.clone(),
            form,
            missing: info.size,
            partial: memory::reserved(row * PANEL as u64)?,
            group: row as usize * PANEL,
        })
    }

    /// Number of bytes that have not arrived yet.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Adds the next bytes; there must not be more than are missing.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.missing -= bytes.len() as u64;
        if !self.partial.is_empty() {
            let (completing, rest) =
                bytes.split_at(bytes.len().min(self.group - self.partial.len()));
            self.partial.extend_from_slice(completing);
            bytes = rest;
            if self.partial.len() == self.group || self.missing == 0 && bytes.is_empty() {
                self.form.push(&self.partial)?;
                self.partial.clear();
            }
        }
        let whole =
            if self.missing == 0 { bytes.len() } else { bytes.len() / self.group * self.group };
        self.form.push(&bytes[..whole])?;
        self.partial.extend_from_slice(&bytes[whole..]);
        Ok(())
    }
}

impl Form {
    /// Adds whole rows.
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            // An empty slice may point anywhere, and candle would cast its pointer to a block.
            return Ok(());
        }
        match self {
            Self::Packed(packer) => packer.push(bytes)?,
            Self::Table(table) => table.bytes.extend_from_slice(bytes),
            Self::Plain { dtype, values, .. } => {
                let count = bytes.len() / dtype.type_size() * dtype.block_size();
                // An aligned copy, candle's copy, and the values twice.
                let (stored, loose) = (bytes.len() as u64, 4 * count as u64);
                memory::probe(&[stored, stored, loose, loose])?;
                let rows = read(*dtype, &[count], bytes)?.dequantize(&Device::Cpu)?;
                values.extend(rows.to_vec1::<f32>()?);
            }
        }
        Ok(())
    }
}

impl Table {
    /// The rows `ids`, `[ids.len(), width]`, f32.
    ///
    /// # Panics
    /// If the table has fewer rows than an id requires.
    pub fn gather(&self, ids: &[u32]) -> Result<Tensor> {
        let row = self.width / self.dtype.block_size() * self.dtype.type_size();
        let rows = ids.iter().flat_map(|id| &self.bytes[*id as usize * row..][..row]);
        let bytes: Vec<u8> = rows.copied().collect();
        Ok(read(self.dtype, &[ids.len(), self.width], &bytes)?.dequantize(&Device::Cpu)?)
    }
}

/// The bytes of memory that a tensor takes in its resident form.
pub fn resident_size(info: &TensorInfo, role: Role) -> u64 {
    let elements = elements(info);
    match role {
        // One byte per value; for every block a scale and, in some types, an offset.
        Role::Linear if is_quantised(info.dtype) => {
            let floats = if has_offsets(info.dtype) { 2 } else { 1 };
            elements + elements / BLOCK as u64 * floats * 4
        }
        Role::Table => info.size,
        Role::Linear | Role::Plain => elements * 4,
    }
}

/// Number of values in a tensor. The header check has refused shapes whose product overflows.
fn elements(info: &TensorInfo) -> u64 {
    info.shape.iter().map(|n| *n as u64).product()
}

fn is_quantised(dtype: GgmlDType) -> bool {
    !matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

fn has_offsets(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::Q4_1 | GgmlDType::Q5_1)
}

/// Reads `bytes` as a tensor. candle reads them through a pointer to its own block type, so they must be
/// aligned like f32. A chunk of a file may not be; newly allocated memory always is.
fn read(dtype: GgmlDType, shape: &[usize], bytes: &[u8]) -> Result<QTensor> {
    let aligned = if bytes.as_ptr().cast::<f32>().is_aligned() {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(bytes.to_vec())
    };
    Ok(qtensor_from_ggml(dtype, &aligned, shape.to_vec(), &Device::Cpu)?)
}
