//! Packs the rows of a quantised weight, as they arrive, into the form its kernel reads.

use candle_core::quantized::GgmlDType;

use crate::cpu::kernels::{Int8Matrix, PANEL, Packing, packing};
use crate::error::Result;
use crate::format::gguf::TensorInfo;
use crate::weights::blocks::{self, BLOCK, Block, BlockRows};
use crate::weights::has_offsets;

/// Packs a linear weight `[out, in]` of a quantised type.
pub struct Packer {
    dtype: GgmlDType,
    /// Rows packed so far.
    row: usize,
    packed: Int8Matrix,
}

impl Packer {
    /// # Errors
    /// `low_memory`
    ///
    /// # Panics
    /// If the shape does not have two dimensions, or the type's blocks do not divide a row.
    pub fn new(info: &TensorInfo) -> Result<Self> {
        let [n, k] = info.shape[..] else { panic!("a linear weight's shape has been checked") };
        let mut packed = Int8Matrix::zeros(n, k, packing_of(info.dtype))?;
        if has_offsets(info.dtype) {
            packed.reserve_offsets()?;
        }
        Ok(Self { dtype: info.dtype, row: 0, packed })
    }

    /// Adds any number of whole rows after the earlier ones; fastest in multiples of eight.
    ///
    /// # Errors
    /// `low_memory`; `internal` if candle cannot read them.
    ///
    /// # Panics
    /// If there are more rows than the weight has.
    pub fn push(&mut self, rows: &[u8]) -> Result<()> {
        blocks::push_rows(self.dtype, self.packed.k(), rows, self)
    }

    /// The weight, when every row has arrived.
    ///
    /// # Panics
    /// If rows are missing.
    pub fn finish(self) -> Int8Matrix {
        assert_eq!(self.row, self.packed.n());
        self.packed
    }
}

impl BlockRows for Packer {
    fn push_packed<const BYTES: usize>(
        &mut self,
        rows: &[[u8; BYTES]],
        unpack: impl Fn(&[u8; BYTES]) -> Block,
    ) {
        let blocks = self.packed.k() / BLOCK;
        let mut rest = rows;
        while !rest.is_empty() {
            let panel = rest.split_at_checked(PANEL * blocks);
            if let Some((panel, after)) = panel.filter(|_| self.row.is_multiple_of(PANEL)) {
                for block in 0..blocks {
                    let (mut scales, mut offsets) = ([0.0; PANEL], [0.0; PANEL]);
                    let mut quants = [[0; BLOCK]; PANEL];
                    for row in 0..PANEL {
                        let bytes = &panel[row * blocks + block];
                        (scales[row], offsets[row], quants[row]) = unpack(bytes);
                    }
                    self.packed.set_blocks(self.row / PANEL, block, &scales, &offsets, &quants);
                }
                self.row += PANEL;
                rest = after;
            } else {
                let (row, after) = rest.split_at(blocks);
                self.push_row(row.iter().map(&unpack));
                rest = after;
            }
        }
    }

    fn push_row(&mut self, blocks: impl Iterator<Item = Block>) {
        for (block, (scale, offset, quants)) in blocks.enumerate() {
            self.packed.set_block(self.row, block, scale, offset, &quants);
        }
        self.row += 1;
    }
}

/// The packing of a type: the bits of its quants, and the lift that makes them unsigned.
fn packing_of(dtype: GgmlDType) -> Packing {
    match dtype {
        GgmlDType::Q4_0 => packing(4, 8),
        GgmlDType::Q4_1 => packing(4, 0),
        GgmlDType::Q5_0 => packing(5, 16),
        GgmlDType::Q5_1 => packing(5, 0),
        _ => packing(8, 0),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};
    use half::f16;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::format::gguf::byte_size;

    const IN_BLOCKS_OF_32: [GgmlDType; 5] =
        [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1, GgmlDType::Q8_0];

    fn info(dtype: GgmlDType, n: usize, k: usize) -> TensorInfo {
        let size = byte_size(dtype, &[n, k]).unwrap();
        TensorInfo { name: "w".into(), dtype, shape: vec![n, k], offset: 0, size }
    }

    fn values(n: usize, k: usize) -> Vec<f32> {
        (0..n * k).map(|i| ((i * 7919 % 1009) as f32 / 504.0 - 1.0).powi(3)).collect()
    }

    #[test]
    fn every_type_keeps_the_values_candle_reads() {
        let k_quants =
            [GgmlDType::Q2K, GgmlDType::Q3K, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];
        let types = IN_BLOCKS_OF_32.map(|dtype| (dtype, 1e-6)).into_iter();
        for (dtype, bound) in types.chain(k_quants.map(|dtype| (dtype, 1.0 / 150.0))) {
            let (n, k) = (13, 256);
            let source = Tensor::from_vec(values(n, k), (n, k), &Device::Cpu).unwrap();
            let quantised = QTensor::quantize(&source, dtype).unwrap();
            let mut packer = Packer::new(&info(dtype, n, k)).unwrap();
            packer.push(&quantised.data().unwrap()).unwrap();
            let packed = packer.finish();
            let want = quantised.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for row in 0..n {
                for column in 0..k {
                    let (got, want) = (packed.value(row, column), want[row][column]);
                    assert!(
                        (got - want).abs() <= bound,
                        "{dtype:?} at [{row}, {column}]: {got} for {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_by_eights_and_one_by_one_are_packed_alike() {
        for dtype in IN_BLOCKS_OF_32 {
            for (n, k) in [(1, 32), (7, 64), (8, 32), (9, 96), (16, 64), (21, 160)] {
                // Any byte is a valid quant, and all values occur; scales are whole numbers.
                let mut bytes: Vec<u8> = (0..info(dtype, n, k).size as usize)
                    .map(|i| (i * 89 + i / 256) as u8)
                    .collect();
                for (i, block) in bytes.chunks_exact_mut(dtype.type_size()).enumerate() {
                    block[..2].copy_from_slice(&f16::from_f32(i as f32).to_le_bytes());
                    if matches!(dtype, GgmlDType::Q4_1 | GgmlDType::Q5_1) {
                        block[2..4].copy_from_slice(&f16::from_f32(-(i as f32)).to_le_bytes());
                    }
                }
                let row = bytes.len() / n;
                let [whole, parts, single] = [n, 5, 1].map(|rows| {
                    let mut packer = Packer::new(&info(dtype, n, k)).unwrap();
                    bytes.chunks(rows * row).for_each(|rows| packer.push(rows).unwrap());
                    packer.finish()
                });
                assert!(whole == single && parts == single, "{dtype:?}, {n} x {k}");
            }
        }
    }
}
