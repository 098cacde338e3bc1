//! Reads the rows of quantised weights as blocks of 32 int8 values, whatever type the file has.

use candle_core::quantized::GgmlDType;
use half::f16;

use super::floats;
use crate::error::Result;

/// Values that share a scale.
pub const BLOCK: usize = 32;

/// A block whose largest value is below this counts as all zeros: its scale would be denormal, and products
/// of denormals are many times slower than others.
pub const LEAST_BLOCK_MAXIMUM: f32 = 1e-30;

/// The largest quant.
pub const LARGEST: f32 = 127.0;

/// Scale, offset and quants of a block: `value = quant * scale + offset`.
pub type Block = (f32, f32, [i8; BLOCK]);

/// What takes the rows of a quantised weight.
pub trait BlockRows {
    /// Takes whole rows as the file has them; `unpack` reads a block.
    fn push_packed<const BYTES: usize>(
        &mut self,
        rows: &[[u8; BYTES]],
        unpack: impl Fn(&[u8; BYTES]) -> Block,
    );

    /// Takes a row of blocks.
    fn push_row(&mut self, blocks: impl Iterator<Item = Block>);
}

/// Gives whole rows of `k` values to `target`. Types with blocks of 32 keep their exact values. K-quants have larger
/// blocks, so they are quantised again to 8 bits.
///
/// # Errors
/// `low_memory`; `internal` if candle cannot read them.
pub fn push_rows(
    dtype: GgmlDType,
    k: usize,
    rows: &[u8],
    target: &mut impl BlockRows,
) -> Result<()> {
    match dtype {
        GgmlDType::Q4_0 => target.push_packed(rows.as_chunks().0, q4_0),
        GgmlDType::Q4_1 => target.push_packed(rows.as_chunks().0, q4_1),
        GgmlDType::Q5_0 => target.push_packed(rows.as_chunks().0, q5_0),
        GgmlDType::Q5_1 => target.push_packed(rows.as_chunks().0, q5_1),
        GgmlDType::Q8_0 => target.push_packed(rows.as_chunks().0, q8_0),
        _ => {
            let row = k / dtype.block_size() * dtype.type_size();
            for bytes in rows.chunks_exact(row) {
                target.push_row(quantised(&floats(dtype, bytes)?));
            }
        }
    }
    Ok(())
}

/// The blocks of a row of floats, rounded to 8 bits.
pub fn quantised(values: &[f32]) -> impl Iterator<Item = Block> {
    values.as_chunks::<BLOCK>().0.iter().map(|values| {
        let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
        let (scale, inverse) = scale_of(maximum);
        (scale, 0.0, values.map(|value| (value * inverse).round_ties_even() as i8))
    })
}

/// The scale that maps a block's largest absolute value `maximum` to [`LARGEST`], and its inverse.
pub fn scale_of(maximum: f32) -> (f32, f32) {
    if maximum < LEAST_BLOCK_MAXIMUM { (0.0, 0.0) } else { (maximum / LARGEST, LARGEST / maximum) }
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
