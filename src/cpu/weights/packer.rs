//! Packs the rows of a quantised weight, as they arrive, into the form its kernel reads.

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use half::f16;

use super::{has_offsets, read};
use crate::cpu::kernels::{BLOCK, Int8Matrix, PANEL, Packing, packing};
use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};

/// Packs a linear weight `[out, in]` of a quantised type. Types with blocks of 32 keep their exact values.
/// K-quants have larger blocks, so they are quantised again to 8 bits.
pub struct Packer {
    dtype: GgmlDType,
    /// Bytes of a row.
    row_bytes: usize,
    /// Rows packed so far.
    row: usize,
    packed: Int8Matrix,
}

/// Scale, offset and quants of a block.
type Block = (f32, f32, [i8; BLOCK]);

impl Packer {
    /// # Errors
    /// `low_memory`
    ///
    /// # Panics
    /// If the shape does not have two dimensions, or the type's blocks do not divide a row.
    pub fn new(info: &TensorInfo) -> Result<Self> {
        let [n, k] = info.shape[..] else { panic!("a linear weight's shape has been checked") };
        let row_bytes = byte_size(info.dtype, &[k]).expect("checked with the header") as usize;
        let mut packed = Int8Matrix::zeros(n, k, packing_of(info.dtype))?;
        if has_offsets(info.dtype) {
            packed.reserve_offsets()?;
        }
        Ok(Self { dtype: info.dtype, row_bytes, row: 0, packed })
    }

    /// Adds any number of whole rows after the earlier ones; fastest in multiples of eight.
    ///
    /// # Errors
    /// `internal` if candle cannot read them.
    ///
    /// # Panics
    /// If there are more rows than the weight has.
    pub fn push(&mut self, rows: &[u8]) -> Result<()> {
        match self.dtype {
            GgmlDType::Q4_0 => self.push_blocks(rows, q4_0),
            GgmlDType::Q4_1 => self.push_blocks(rows, q4_1),
            GgmlDType::Q5_0 => self.push_blocks(rows, q5_0),
            GgmlDType::Q5_1 => self.push_blocks(rows, q5_1),
            GgmlDType::Q8_0 => self.push_blocks(rows, q8_0),
            _ => {
                for bytes in rows.chunks_exact(self.row_bytes) {
                    let row = read(self.dtype, &[1, self.packed.k()], bytes)?;
                    let values = row.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
                    self.packed.quantise_row(self.row, &values);
                    self.row += 1;
                }
            }
        }
        Ok(())
    }

    /// The weight, when every row has arrived.
    ///
    /// # Panics
    /// If rows are missing.
    pub fn finish(self) -> Int8Matrix {
        assert_eq!(self.row, self.packed.n());
        self.packed
    }

    fn push_blocks<const BYTES: usize>(
        &mut self,
        rows: &[u8],
        unpack: impl Fn(&[u8; BYTES]) -> Block,
    ) {
        let blocks = self.packed.k() / BLOCK;
        let (mut rest, _) = rows.as_chunks::<BYTES>();
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
                for (block, bytes) in row.iter().enumerate() {
                    let (scale, offset, quants) = unpack(bytes);
                    self.packed.set_block(self.row, block, scale, offset, &quants);
                }
                self.row += 1;
                rest = after;
            }
        }
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

// The block layouts of ggml-common.h: scale, offset, fifth bits and quants, as far as the type has them.

fn q4_0(block: &[u8; 18]) -> Block {
    (float(block, 0), 0.0, nibbles(part(block, 2), 0, 8))
}

fn q4_1(block: &[u8; 20]) -> Block {
    (float(block, 0), float(block, 2), nibbles(part(block, 4), 0, 0))
}

fn q5_0(block: &[u8; 22]) -> Block {
    let fifths = u32::from_le_bytes(part(block, 2));
    (float(block, 0), 0.0, nibbles(part(block, 6), fifths, 16))
}

fn q5_1(block: &[u8; 24]) -> Block {
    let fifths = u32::from_le_bytes(part(block, 4));
    (float(block, 0), float(block, 2), nibbles(part(block, 8), fifths, 0))
}

fn q8_0(block: &[u8; 34]) -> Block {
    (float(block, 0), 0.0, part(block, 2).map(|byte: u8| byte as i8))
}

fn float(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes(part(block, at)).to_f32()
}

fn part<const N: usize>(block: &[u8], from: usize) -> [u8; N] {
    block[from..from + N].try_into().expect("as long as the part")
}

/// The value 1 in each of a word's eight bytes.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The quants of a block, eight at a time. The low nibbles hold the first half of the block; `fifths` has
/// one bit for each quant. `zero` is subtracted from each quant.
fn nibbles(bytes: [u8; 16], fifths: u32, zero: u8) -> [i8; BLOCK] {
    let mut quants = [0; BLOCK];
    for (i, eight) in quants.chunks_exact_mut(8).enumerate() {
        let word = u64::from_le_bytes(part(&bytes, i % 2 * 8));
        let nibbles = word >> (i / 2 * 4) & (EACH * 0x0f);
        let lifted = nibbles | fifth_bits((fifths >> (8 * i)) as u8);
        // The top bit is set during the subtraction, so that no byte borrows from the next.
        let quants = ((lifted | (EACH * 0x80)) - EACH * u64::from(zero)) ^ (EACH * 0x80);
        eight.copy_from_slice(&quants.to_le_bytes().map(|byte| byte as i8));
    }
    quants
}

/// Bit `i` as bit 4 of byte `i`.
fn fifth_bits(bits: u8) -> u64 {
    let apart = (EACH * u64::from(bits)) & 0x8040_2010_0804_0201;
    // In each byte, any non-zero value carries into the top bit, and no further.
    ((apart + EACH * 0x7f) & (EACH * 0x80)) >> 3
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use candle_core::quantized::QTensor;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

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
