//! The product of narrow weights in wasm's relaxed SIMD: sixteen bytes by sixteen per instruction, twice as
//! many as plain SIMD.
//!
//! The second operand of its dot products is unsigned and below 128; in that range every engine gives the
//! same sums. Outside it results are implementation-defined; `dot_is_one_instruction` uses that to detect
//! how the engine lowers the instruction.

use std::arch::wasm32::{
    i8x16_splat, i16x8_add, i16x8_relaxed_dot_i8x16_i7x16, i16x8_splat, i32x4_add,
    i32x4_extadd_pairwise_i16x8, i32x4_extract_lane, i32x4_relaxed_dot_i8x16_i7x16_add,
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
pub const KERNEL: Kernel = Kernel { run: Run::Four, most_bits: 5, multiply };

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
    let multiply_tile = if dot_is_one_instruction() {
        [
            multiply_tile::<1, true>,
            multiply_tile::<2, true>,
            multiply_tile::<3, true>,
            multiply_tile::<4, true>,
        ]
    } else {
        [
            multiply_tile::<1, false>,
            multiply_tile::<2, false>,
            multiply_tile::<3, false>,
            multiply_tile::<4, false>,
        ]
    };
    let m = activations.m();
    for panel in panels {
        for group in 0..m.div_ceil(ROWS) {
            let rows = ROWS.min(m - group * ROWS);
            let tile = multiply_tile[rows - 1](weight, activations, panel, group);
            out.store(&tile, group * ROWS, panel * PANEL);
        }
    }
}

/// Whether the processor has one instruction that multiplies bytes and sums them in i32. An x86 without one
/// sums pairs in i16 first, which overflow in this test product.
#[target_feature(enable = "relaxed-simd")]
fn dot_is_one_instruction() -> bool {
    const THROUGH_I16: i32 = 2 * i16::MAX as i32;
    let out_of_range = i8x16_splat(-1);
    let dots = i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(127), out_of_range, i32x4_splat(0));
    i32x4_extract_lane::<0>(dots) != THROUGH_I16
}

/// `R` rows times a panel.
#[target_feature(enable = "relaxed-simd")]
fn multiply_tile<const R: usize, const ONE_INSTRUCTION: bool>(
    weight: &Int8Matrix,
    activations: &Activations,
    panel: usize,
    group: usize,
) -> Tile {
    let factors = Factors::new(weight, activations, panel, group);
    let totals = activations.group_totals(group).chunks_exact(ROWS);
    let inputs = activations.fours(group).chunks_exact(ROWS * BLOCK).zip(totals);
    let blocks = weight.panel(panel).chunks_exact(PANEL * BLOCK).zip(inputs);
    let lift = i32::from(weight.packing().lift);
    // The number of steps whose sums fit in i16: each adds 2 products of at most 127 * (2^bits - 1).
    let steps = if ONE_INSTRUCTION { BLOCK / 4 } else { 128 >> weight.packing().bits };
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
                for row in 0..R {
                    let four = four(row);
                    if ONE_INSTRUCTION {
                        let [a, b] = &mut dots[row];
                        *a = i32x4_relaxed_dot_i8x16_i7x16_add(four, low, *a);
                        *b = i32x4_relaxed_dot_i8x16_i7x16_add(four, high, *b);
                    } else {
                        let [a, b] = &mut sums[row];
                        *a = i16x8_add(*a, i16x8_relaxed_dot_i8x16_i7x16(four, low));
                        *b = i16x8_add(*b, i16x8_relaxed_dot_i8x16_i7x16(four, high));
                    }
                }
                // SAFETY: the block consists of whole steps, and this was one of them.
                unsafe {
                    quants = quants.add(STEP);
                    inputs = inputs.add(ROWS * 4);
                }
            }
            if !ONE_INSTRUCTION {
                for (dots, sums) in dots.iter_mut().zip(sums) {
                    for (dots, sums) in dots.iter_mut().zip(sums) {
                        *dots = i32x4_add(*dots, i32x4_extadd_pairwise_i16x8(sums));
                    }
                }
            }
        }
        dots
    })
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::cpu::kernels::pack::Packing;

    /// Tests both code paths, although this processor would use only one of them.
    #[wasm_bindgen_test]
    fn both_ways_give_the_same_bits() {
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
                    let quants = std::array::from_fn(|i| ((i * (row + 3)) as i8 & most) - lift);
                    weight.set_block(row, block, 0.1 + row as f32, 0.5, &quants);
                }
            }
            let [one, other] = [
                multiply_tile::<4, true>(&weight, &activations, 0, 0),
                multiply_tile::<4, false>(&weight, &activations, 0, 0),
            ];
            assert_eq!(one, other);
        }
    }
}
