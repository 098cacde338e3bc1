//! Turns the bytes of tensors into the forms the towers keep in memory. How a linear weight is kept is up to the backend;
//! the rest is the same for all of them.

pub(crate) mod blocks;

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};
use crate::memory;
use crate::model::config::missing;
use crate::model::inventory::Role;
use blocks::BLOCK;

/// How many rows of a tensor are converted together, if they have arrived together.
pub const ROWS_TOGETHER: usize = 8;

/// The tensors of a model by canonical name, each in its resident form; `L` is that of a linear weight.
pub struct Weights<L> {
    plain: HashMap<String, Tensor>,
    linears: HashMap<String, L>,
    tables: HashMap<String, Table>,
}

/// A linear weight `[out, in]` in the form that a backend keeps.
pub trait LinearWeight {
    /// Adds whole rows in the file's type, in order; fastest in multiples of [`ROWS_TOGETHER`].
    ///
    /// # Errors
    /// `low_memory`; `internal` if the rows cannot be read.
    fn push(&mut self, rows: &[u8]) -> Result<()>;
}

/// A table `[rows, width]`, stored as in the file; rows are dequantised when they are read.
pub struct Table {
    dtype: GgmlDType,
    width: usize,
    bytes: Vec<u8>,
}

/// A tensor that is being loaded, in pieces of any size. Its bytes are converted to the resident form as
/// they arrive, so that only a few rows of the file are in memory at a time.
pub struct Incoming<L> {
    name: String,
    form: Form<L>,
    missing: u64,
    /// Bytes of a group of rows that is not complete yet.
    partial: Vec<u8>,
    /// Bytes in such a group.
    group: usize,
}

enum Form<L> {
    Linear(L),
    Table(Table),
    Plain(PlainRows),
}

/// The values of a tensor in f32, as its rows arrive.
pub struct PlainRows {
    dtype: GgmlDType,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl<L> Default for Weights<L> {
    fn default() -> Self {
        Self { plain: HashMap::new(), linears: HashMap::new(), tables: HashMap::new() }
    }
}

impl<L: LinearWeight> Weights<L> {
    /// Adds a tensor that is complete.
    pub fn insert(&mut self, incoming: Incoming<L>) -> Result<()> {
        let name = incoming.name;
        match incoming.form {
            Form::Linear(linear) => {
                self.linears.insert(name, linear);
            }
            Form::Table(table) => {
                self.tables.insert(name, table);
            }
            Form::Plain(rows) => {
                self.plain.insert(name, rows.finish()?);
            }
        }
        Ok(())
    }

    /// A tensor that is used unchanged, if it is there.
    #[cfg(feature = "gpu")]
    pub fn get_plain(&self, name: &str) -> Option<&Tensor> {
        self.plain.get(name)
    }

    /// The weight of a linear layer, if it is there.
    #[cfg(feature = "gpu")]
    pub fn get_linear(&mut self, name: &str) -> Option<&mut L> {
        self.linears.get_mut(name)
    }

    /// A table, if it is there.
    #[cfg(feature = "gpu")]
    pub fn get_table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Adds a tensor that is used unchanged.
    #[cfg(feature = "gpu")]
    pub fn put_plain(&mut self, name: &str, tensor: Tensor) {
        self.plain.insert(name.into(), tensor);
    }

    /// Adds the weight of a linear layer.
    #[cfg(feature = "gpu")]
    pub fn put_linear(&mut self, name: &str, linear: L) {
        self.linears.insert(name.into(), linear);
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
    pub fn linear(&mut self, name: &str) -> Result<L> {
        self.linears.remove(name).ok_or_else(|| missing(name))
    }

    /// Removes and returns a table.
    ///
    /// # Errors
    /// `missing_tensor` if it is not there.
    pub fn table(&mut self, name: &str) -> Result<Table> {
        self.tables.remove(name).ok_or_else(|| missing(name))
    }
}

impl<L: LinearWeight> Incoming<L> {
    /// A tensor none of whose bytes have arrived yet; `linear` makes the form of a linear weight.
    ///
    /// # Errors
    /// `low_memory` if there is no memory for its resident form.
    pub fn new(
        info: &TensorInfo,
        role: Role,
        linear: impl FnOnce(&TensorInfo) -> Result<L>,
    ) -> Result<Self> {
        let width = info.shape.last().copied().unwrap_or(1);
        let row = byte_size(info.dtype, &[width]).expect("checked with the header");
        let form = match role {
            Role::Linear => Form::Linear(linear(info)?),
            Role::Table => {
                Form::Table(Table { dtype: info.dtype, width, bytes: memory::reserved(info.size)? })
            }
            Role::Plain => Form::Plain(PlainRows::new(info)?),
        };
        Ok(Self {
            name: info.name.clone(),
            form,
            missing: info.size,
            partial: memory::reserved(row * ROWS_TOGETHER as u64)?,
            group: row as usize * ROWS_TOGETHER,
        })
    }

    /// The tensor's name.
    #[cfg(feature = "gpu")]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is kept.
    #[cfg(feature = "gpu")]
    pub fn role(&self) -> Role {
        match self.form {
            Form::Linear(_) => Role::Linear,
            Form::Table(_) => Role::Table,
            Form::Plain(_) => Role::Plain,
        }
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

impl<L: LinearWeight> Form<L> {
    /// Adds whole rows.
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            // An empty slice may point anywhere, and candle would cast its pointer to a block.
            return Ok(());
        }
        match self {
            Self::Linear(linear) => linear.push(bytes)?,
            Self::Table(table) => table.bytes.extend_from_slice(bytes),
            Self::Plain(rows) => rows.push(bytes)?,
        }
        Ok(())
    }
}

impl PlainRows {
    /// A tensor none of whose rows have arrived.
    ///
    /// # Errors
    /// `low_memory`
    pub fn new(info: &TensorInfo) -> Result<Self> {
        let values = memory::reserved(elements(info))?;
        Ok(Self { dtype: info.dtype, shape: info.shape.clone(), values })
    }

    /// Adds whole rows.
    ///
    /// # Errors
    /// `low_memory`; `internal` if candle cannot read them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.values.extend(floats(self.dtype, bytes)?);
        Ok(())
    }

    /// The tensor, when every row has arrived.
    pub fn finish(self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values, self.shape, &Device::Cpu)?)
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

/// Whether a linear weight of this type is kept as int8.
pub fn is_quantised(dtype: GgmlDType) -> bool {
    !matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

/// Whether the blocks of this type have offsets.
pub fn has_offsets(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::Q4_1 | GgmlDType::Q5_1)
}

/// The values of whole rows of any type, in f32.
///
/// # Errors
/// `low_memory`; `internal` if candle cannot read them.
pub fn floats(dtype: GgmlDType, bytes: &[u8]) -> Result<Vec<f32>> {
    let count = bytes.len() / dtype.type_size() * dtype.block_size();
    // An aligned copy, candle's copy, and the values twice.
    let (stored, loose) = (bytes.len() as u64, 4 * count as u64);
    memory::probe(&[stored, stored, loose, loose])?;
    Ok(read(dtype, &[count], bytes)?.dequantize(&Device::Cpu)?.to_vec1::<f32>()?)
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
