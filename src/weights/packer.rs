//! Quantised rows -> [`Int8Matrix`].

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use half::f16;

use super::read;
use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};
use crate::kernels::{BLOCK, FOURS_PAY, Int8Matrix};

pub struct Packer {
    dtype: GgmlDType,
    packed: Int8Matrix,
    row: usize,
    row_bytes: usize,
}

impl Packer {
    pub fn new(info: &TensorInfo) -> Self {
        let [n, k] = info.shape[..] else {
            unreachable!("a linear weight's shape has been checked")
        };
        let packed = match narrow(info.dtype) {
            Some((bits, lift)) if FOURS_PAY => Int8Matrix::in_fours(n, k, bits, lift),
            _ => Int8Matrix::zeros(n, k),
        };
        let row_bytes = byte_size(info.dtype, &[k]).expect("checked with the header") as usize;
        Self { dtype: info.dtype, packed, row: 0, row_bytes }
    }

    pub fn push(&mut self, rows: &[u8]) -> Result<()> {
        let k = self.packed.k();
        for bytes in rows.chunks_exact(self.row_bytes) {
            if let Some(unpack) = unpacker(self.dtype) {
                for (block, bytes) in bytes.chunks_exact(self.dtype.type_size()).enumerate() {
                    let (scale, offset, quants) = unpack(bytes);
                    self.packed.set_block(self.row, block, scale, offset, &quants);
                }
            } else {
                let values = read(self.dtype, &[1, k], bytes)?.dequantize(&Device::Cpu)?;
                self.packed.quantise_row(self.row, &values.flatten_all()?.to_vec1::<f32>()?);
            }
            self.row += 1;
        }
        Ok(())
    }

    pub fn finish(self) -> Int8Matrix {
        self.packed
    }
}

/// Of a type of 4 or 5 bits: how many, and what makes its quants ones without a sign.
fn narrow(dtype: GgmlDType) -> Option<(u32, i8)> {
    match dtype {
        GgmlDType::Q4_0 => Some((4, 8)),
        GgmlDType::Q4_1 => Some((4, 0)),
        GgmlDType::Q5_0 => Some((5, 16)),
        GgmlDType::Q5_1 => Some((5, 0)),
        _ => None,
    }
}

/// Scale, offset and quants of a block.
type Block = (f32, f32, [i8; BLOCK]);

/// The block layouts of ggml-common.h: the low nibbles hold the first half of a block.
fn unpacker(dtype: GgmlDType) -> Option<fn(&[u8]) -> Block> {
    Some(match dtype {
        GgmlDType::Q4_0 => |b| (float(b, 0), 0.0, nibbles(&b[2..], |_| 0, 8)),
        GgmlDType::Q4_1 => |b| (float(b, 0), float(b, 2), nibbles(&b[4..], |_| 0, 0)),
        GgmlDType::Q5_0 => |b| (float(b, 0), 0.0, nibbles(&b[6..], fifth_bits(&b[2..6]), 16)),
        GgmlDType::Q5_1 => {
            |b| (float(b, 0), float(b, 2), nibbles(&b[8..], fifth_bits(&b[4..8]), 0))
        }
        GgmlDType::Q8_0 => |b| (float(b, 0), 0.0, std::array::from_fn(|i| b[2 + i] as i8)),
        _ => return None,
    })
}

fn float(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn nibbles(bytes: &[u8], fifth: impl Fn(usize) -> u8, zero: i8) -> [i8; BLOCK] {
    std::array::from_fn(|i| {
        let byte = bytes[i % 16];
        let nibble = if i < 16 { byte & 15 } else { byte >> 4 };
        (nibble | fifth(i) << 4) as i8 - zero
    })
}

fn fifth_bits(bytes: &[u8]) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    move |i| (bits >> i & 1) as u8
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use candle_core::quantized::QTensor;

    use super::*;

    #[test]
    fn every_type_keeps_the_values_candle_reads() {
        let (n, k) = (5, 256);
        let values: Vec<f32> =
            (0..n * k).map(|i| ((i * 7919 % 1009) as f32 / 504.0 - 1.0).powi(3)).collect();
        let source = Tensor::from_vec(values, (n, k), &Device::Cpu).unwrap();
        for (dtype, bound) in [
            (GgmlDType::Q4_0, 1e-6),
            (GgmlDType::Q4_1, 1e-6),
            (GgmlDType::Q5_0, 1e-6),
            (GgmlDType::Q5_1, 1e-6),
            (GgmlDType::Q8_0, 1e-6),
            (GgmlDType::Q2K, 1.0 / 150.0),
            (GgmlDType::Q3K, 1.0 / 150.0),
            (GgmlDType::Q4K, 1.0 / 150.0),
            (GgmlDType::Q5K, 1.0 / 150.0),
            (GgmlDType::Q6K, 1.0 / 150.0),
        ] {
            let quantised = QTensor::quantize(&source, dtype).unwrap();
            let bytes = quantised.data().unwrap();
            let info = TensorInfo {
                name: "w".into(),
                dtype,
                shape: vec![n, k],
                offset: 0,
                size: bytes.len() as u64,
            };
            let mut packer = Packer::new(&info);
            packer.push(&bytes).unwrap();
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
}
