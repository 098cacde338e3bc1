//! The product of narrow weights in wasm's relaxed SIMD, on processors without a byte dot product.
//!
//! Their instruction multiplies sixteen bytes by sixteen too, but sums pairs of products in 16 bits. With at most five
//! bits per quant, several such sums fit in 16 bits before they are widened.
//!
//! The second operand of wasm's dot products is unsigned and below 128; in that range every engine gives the same
//! sums.

use std::arch::wasm32::{
    i16x8_add, i16x8_relaxed_dot_i8x16_i7x16, i16x8_splat, i32x4_add, i32x4_extadd_pairwise_i16x8,
    i32x4_splat, v128_load, v128_load32_splat,
};
use std::ops::Range;

use super::simd128::{Dots, Factors};
use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// Weights of at most 5 bits, lifted so that they are unsigned.
pub const KERNEL: Kernel = Kernel {
    run: Run::Four,
    most_bits: 5,
    lift: |_, lift| Some(lift),
    name: || "narrow bytes",
    multiply,
};

/// One step of a panel: eight outputs by four inputs.
const STEP: usize = PANEL * 4;

fn multiply(weight: &Int8Matrix, activations: &Activations, panels: Range<usize>, out: &Finishing) {
    multiply_panels(weight, activations, panels, out);
}

#[target_feature(enable = "relaxed-simd")]
fn multiply_panels(
    weight: &Int8Matrix,
    activations: &Activations,
    panels: Range<usize>,
    out: &Finishing,
) {
    let m = activations.m();
    for panel in panels {
        for group in 0..m.div_ceil(ROWS) {
            let tile = match m - group * ROWS {
                1 => multiply_tile::<1>(weight, activations, panel, group),
                2 => multiply_tile::<2>(weight, activations, panel, group),
                3 => multiply_tile::<3>(weight, activations, panel, group),
                _ => multiply_tile::<4>(weight, activations, panel, group),
            };
            out.store(&tile, group * ROWS, panel * PANEL);
        }
    }
}

/// `R` rows times a panel.
#[target_feature(enable = "relaxed-simd")]
fn multiply_tile<const R: usize>(
    weight: &Int8Matrix,
    activations: &Activations,
    panel: usize,
    group: usize,
) -> Tile {
    let factors = Factors::new(weight, activations, panel, group);
    let totals = activations.group_totals(group).chunks_exact(ROWS);
    let inputs = activations.fours(group).chunks_exact(ROWS * BLOCK).zip(totals);
    let blocks = weight.panel(panel).chunks_exact(PANEL * BLOCK).zip(inputs);
    let lift = weight.packing().lift;
    // The number of steps whose sums fit in i16: each adds 2 products of at most 127 * (2^bits - 1).
    let steps = 128 >> weight.packing().bits;
    factors.sum(blocks, |(quants, (inputs, totals))| -> Dots<R> {
        assert!(quants.len() == PANEL * BLOCK && inputs.len() == ROWS * BLOCK);
        let (mut quants, mut inputs) = (quants.as_ptr(), inputs.as_ptr());
        let mut dots: Dots<R> = std::array::from_fn(|row| [i32x4_splat(-lift * totals[row]); 2]);
        for _ in 0..BLOCK / 4 / steps {
            let mut sums = [[i16x8_splat(0); 2]; R];
            // SAFETY: this many steps end before the end of the block.
            let end = unsafe { quants.add(STEP * steps) };
            while quants != end {
                // SAFETY: a step has four inputs for each of eight outputs, which is two vectors, and 32
                // bits for each of four rows.
                let (low, high, four) = unsafe {
                    let four = |row: usize| v128_load32_splat(inputs.add(4 * row).cast());
                    (v128_load(quants.cast()), v128_load(quants.add(16).cast()), four)
                };
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = four(row);
                    sums[0] = i16x8_add(sums[0], i16x8_relaxed_dot_i8x16_i7x16(four, low));
                    sums[1] = i16x8_add(sums[1], i16x8_relaxed_dot_i8x16_i7x16(four, high));
                }
                // SAFETY: the block consists of whole steps, and this was one of them.
                unsafe {
                    quants = quants.add(STEP);
                    inputs = inputs.add(ROWS * 4);
                }
            }
            for (dots, sums) in dots.iter_mut().zip(sums) {
                for (dots, sums) in dots.iter_mut().zip(sums) {
                    *dots = i32x4_add(*dots, i32x4_extadd_pairwise_i16x8(sums));
                }
            }
        }
        dots
    })
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::super::byte_dot;
    use super::*;
    use crate::cpu::kernels::pack::Packing;

    /// Compares both kernels, although this processor would use only one of them: narrow weights that are
    /// lifted are in the range that every engine computes alike.
    #[wasm_bindgen_test]
    fn both_instructions_give_the_same_bits() {
        let k = 96;
        let values: Vec<f32> =
            (0..4 * k).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 9.0).collect();
        let mut activations = Activations::default();
        activations.quantise(&values, k, Run::Four);
        for (bits, lift) in [(4, 8), (5, 0)] {
            let mut weight =
                Int8Matrix::zeros(PANEL, k, Packing { run: Run::Four, bits, lift }).unwrap();
            for row in 0..PANEL {
                for block in 0..k / BLOCK {
                    let most = (1 << bits) - 1;
                    let quants =
                        std::array::from_fn(|i| ((i * (row + 3)) as i8 & most) - lift as i8);
                    weight.set_block(row, block, 0.1 + row as f32, 0.5, &quants);
                }
            }
            let [one, other] = [
                multiply_tile::<4>(&weight, &activations, 0, 0),
                byte_dot::multiply_tile::<4>(
                    &weight,
                    &activations,
                    0,
                    0,
                    byte_dot::BlockLength::hidden(),
                ),
            ];
            assert_eq!(one, other);
        }
    }
}
