//! Weights on the GPU. Rows go to their buffers as they arrive, so that no weight is ever whole in this program's
//! memory.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use candle_core::quantized::GgmlDType;

use super::device::Gpu;
use crate::cpu::weights::LinearRows;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{TensorInfo, byte_size};
use crate::weights::blocks::{self, BLOCK, Block, BlockRows};
use crate::weights::{LinearWeight, floats, has_offsets, is_quantised};

/// A linear weight `[n, k]`, row-major.
pub struct Matrix {
    pub n: usize,
    pub k: usize,
    pub values: Values,
}

/// The values of a weight.
pub enum Values {
    /// int8 in blocks of 32 along k.
    Int8 {
        /// `[n, k]`, a byte each.
        quants: wgpu::Buffer,
        /// `[n, k / 32]`, f32.
        scales: wgpu::Buffer,
        /// Like `scales`; only there if an offset is not zero.
        offsets: OnceLock<wgpu::Buffer>,
    },
    /// `[n, k]`, f32.
    Float(wgpu::Buffer),
}

impl Matrix {
    /// A weight whose rows have not arrived.
    ///
    /// # Errors
    /// `gpu_unavailable` if it is larger than a shader may read; `low_memory`.
    pub fn new(gpu: &Gpu, name: &str, n: usize, k: usize, is_int8: bool) -> Result<Self> {
        let size = n as u64 * k as u64;
        gpu.check_size(name, if is_int8 { size } else { 4 * size })?;
        let values = match is_int8 {
            true => Values::Int8 {
                quants: storage(gpu, name, size),
                scales: storage(gpu, name, size / BLOCK as u64 * 4),
                offsets: OnceLock::new(),
            },
            false => Values::Float(storage(gpu, name, 4 * size)),
        };
        gpu.check()?;
        Ok(Self { n, k, values })
    }

    /// Whether it is kept as int8.
    pub fn is_int8(&self) -> bool {
        matches!(self.values, Values::Int8 { .. })
    }

    /// Writes rows of blocks, from `row` on.
    fn write_blocks(&self, gpu: &Gpu, row: usize, rows: &Rows) {
        let Values::Int8 { quants, scales, offsets } = &self.values else { return };
        let first = (row * self.k) as u64;
        let factors = first / BLOCK as u64 * 4;
        gpu.queue().write_buffer(quants, first, &rows.quants);
        gpu.queue().write_buffer(scales, factors, &bytes_of(&rows.scales));
        if rows.offsets.iter().any(|offset| *offset != 0.0) {
            let offsets = offsets.get_or_init(|| storage(gpu, "offsets", scales.size()));
            gpu.queue().write_buffer(offsets, factors, &bytes_of(&rows.offsets));
        }
    }
}

/// A buffer that shaders read, all zeros.
pub fn storage(gpu: &Gpu, label: &str, bytes: u64) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.max(16).next_multiple_of(4),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// A buffer of these values.
pub fn buffer_of(gpu: &Gpu, label: &str, values: &[f32]) -> wgpu::Buffer {
    let buffer = storage(gpu, label, 4 * values.len() as u64);
    gpu.queue().write_buffer(&buffer, 0, &bytes_of(values));
    buffer
}

/// The bytes of values, little-endian, as every GPU reads them.
pub fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A weight that is quantised here, its rows padded with zeros to whole blocks.
///
/// # Errors
/// Those of [`Matrix::new`].
pub fn quantised(gpu: &Gpu, name: &str, values: &[f32], n: usize, k: usize) -> Result<Matrix> {
    let padded = k.next_multiple_of(BLOCK);
    let matrix = Matrix::new(gpu, name, n, padded, true)?;
    let mut rows = Rows::default();
    let mut row = vec![0.0; padded];
    for values in values.chunks_exact(k) {
        row[..k].copy_from_slice(values);
        rows.push_row(blocks::quantised(&row));
    }
    matrix.write_blocks(gpu, 0, &rows);
    Ok(matrix)
}

/// The matrices of a model that have rows, by the names of their layers.
#[derive(Default)]
pub struct Matrices {
    open: HashMap<String, Arc<Matrix>>,
}

/// The parts of the one matrix that the projections of attention become.
const QKV: [&str; 3] = ["attn_q", "attn_k", "attn_v"];

impl Matrices {
    /// The place for the rows of a linear weight. Queries, keys and values share a matrix. `copy` takes the same rows.
    ///
    /// # Errors
    /// Those of [`Matrix::new`]; `unsupported_model` if a block mixes float and quantised projections.
    pub fn upload(
        &mut self,
        gpu: &Gpu,
        info: &TensorInfo,
        copy: Option<LinearRows>,
    ) -> Result<Upload> {
        let [n, k] = info.shape[..] else { panic!("a linear weight's shape has been checked") };
        let is_int8 = is_quantised(info.dtype);
        let layer = info.name.trim_end_matches(".weight");
        let (block, part) = layer.rsplit_once('.').unwrap_or(("", layer));
        let third = QKV.iter().position(|name| *name == part);
        let (name, parts) = match third {
            Some(_) => (format!("{block}.attn_qkv"), QKV.len()),
            None => (layer.to_owned(), 1),
        };
        let matrix = match self.open.get(&name) {
            Some(matrix) => Arc::clone(matrix),
            None => {
                let matrix = Arc::new(Matrix::new(gpu, &info.name, parts * n, k, is_int8)?);
                if parts > 1 {
                    self.open.insert(name, Arc::clone(&matrix));
                }
                matrix
            }
        };
        if matrix.is_int8() != is_int8 {
            let message =
                format!("{block} mixes float and quantised projections; convert the model again");
            return Err(Error::new(ErrorKind::UnsupportedModel, message));
        }
        let row = third.unwrap_or(0) * n;
        Ok(Upload { gpu: gpu.clone(), dtype: info.dtype, matrix, row, copy })
    }
}

/// A linear weight whose rows go to the GPU.
pub struct Upload {
    gpu: Gpu,
    dtype: GgmlDType,
    matrix: Arc<Matrix>,
    /// The next row of the matrix.
    row: usize,
    /// The CPU's form of the same rows, if they are for a witness.
    copy: Option<LinearRows>,
}

impl Upload {
    /// A weight without memory for its rows, to compile kernels for.
    pub fn without_rows(gpu: &Gpu, info: &TensorInfo) -> Self {
        let [n, k] = info.shape[..] else { panic!("a linear weight's shape has been checked") };
        let layer = info.name.trim_end_matches(".weight");
        let is_third = QKV.iter().any(|part| layer.ends_with(part));
        let empty = || storage(gpu, &info.name, 0);
        let values = match is_quantised(info.dtype) {
            true => {
                let offsets = OnceLock::new();
                if has_offsets(info.dtype) {
                    offsets.get_or_init(empty);
                }
                Values::Int8 { quants: empty(), scales: empty(), offsets }
            }
            false => Values::Float(empty()),
        };
        let n = if is_third { QKV.len() * n } else { n };
        let matrix = Arc::new(Matrix { n, k, values });
        Self { gpu: gpu.clone(), dtype: info.dtype, matrix, row: 0, copy: None }
    }

    /// Takes the CPU's form away.
    pub fn take_copy(&mut self) -> Option<LinearRows> {
        self.copy.take()
    }

    /// The matrix that its rows are in.
    pub fn matrix(self) -> Arc<Matrix> {
        self.matrix
    }
}

impl LinearWeight for Upload {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let Matrix { k, values, .. } = &*self.matrix;
        let row_bytes = byte_size(self.dtype, &[*k]).expect("checked with the header") as usize;
        match values {
            Values::Int8 { .. } => {
                let mut rows = Rows::default();
                blocks::push_rows(self.dtype, *k, bytes, &mut rows)?;
                self.matrix.write_blocks(&self.gpu, self.row, &rows);
            }
            Values::Float(buffer) => {
                let values = floats(self.dtype, bytes)?;
                let at = 4 * (self.row * k) as u64;
                self.gpu.queue().write_buffer(buffer, at, &bytes_of(&values));
            }
        }
        self.row += bytes.len() / row_bytes;
        if let Some(copy) = &mut self.copy {
            copy.push(bytes)?;
        }
        self.gpu.submit_writes(bytes.len() as u64);
        self.gpu.check()
    }
}

/// Rows of blocks, in the layout of a [`Matrix`].
#[derive(Default)]
struct Rows {
    quants: Vec<u8>,
    scales: Vec<f32>,
    offsets: Vec<f32>,
}

impl BlockRows for Rows {
    fn push_packed<const BYTES: usize>(
        &mut self,
        rows: &[[u8; BYTES]],
        unpack: impl Fn(&[u8; BYTES]) -> Block,
    ) {
        self.push_row(rows.iter().map(unpack));
    }

    fn push_row(&mut self, blocks: impl Iterator<Item = Block>) {
        for (scale, offset, quants) in blocks {
            self.scales.push(scale);
            self.offsets.push(offset);
            self.quants.extend(quants.map(|quant| quant as u8));
        }
    }
}
