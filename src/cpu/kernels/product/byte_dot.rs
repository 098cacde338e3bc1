//! The product in wasm's relaxed SIMD on processors with a byte dot product: sixteen bytes by sixteen in one
//! instruction, twice as many as in plain SIMD, and nothing is widened.
//!
//! The second operand of the dot product is specified for 0 to 127 only. Outside that range an engine gives what its
//! processor's instruction gives. The instruction of Arm, and a newer one of x86, takes signed bytes; an older
//! one of x86 takes unsigned bytes; and an x86 with neither sums pairs that saturate at 16 bits. [`operand`] finds
//! out which it is, and weights are packed accordingly, so that the integers are the same everywhere.
//!
//! Some engines have two compilers that disagree on one value: pairs of (-128)(-128) wrap in one of them.
//! Activations are never -128, so such pairs do not occur.

use std::arch::wasm32::{
    i32x4_relaxed_dot_i8x16_i7x16_add, i32x4_shuffle, i32x4_splat, v128, v128_load, v128_store,
};
use std::hint::black_box;
use std::ops::Range;
use std::sync::OnceLock;

use super::simd128::{Dots, Factors};
use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// Weights of any number of bits, if the processor has the instruction.
pub const KERNEL: Kernel = Kernel { run: Run::Four, most_bits: 8, lift, name, multiply };

/// One step of a panel: eight outputs by four inputs.
const STEP: usize = PANEL * 4;

/// How this engine understands the bytes of the second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// From -128 to 127.
    Signed,
    /// From 0 to 255.
    Unsigned,
    /// Neither: the products' sums saturate, or are otherwise not exact.
    Inexact,
}

/// How this engine understands the bytes of the second operand. It is the same for the whole life of a program: the
/// specification says that an engine decides once.
pub fn operand() -> Operand {
    static OPERAND: OnceLock<Operand> = OnceLock::new();
    *OPERAND.get_or_init(probe)
}

fn lift(bits: u32, lift: i32) -> Option<i32> {
    match operand() {
        Operand::Signed => Some(0),
        Operand::Unsigned => Some(if bits == 8 { 128 } else { lift }),
        Operand::Inexact => None,
    }
}

fn name() -> &'static str {
    if operand() == Operand::Signed { "signed bytes" } else { "unsigned bytes" }
}

/// Asks for sums that differ between signed and unsigned bytes, some of which do not fit in 16 bits.
fn probe() -> Operand {
    let inputs: [i8; 16] =
        [127, 127, 127, 127, -127, -127, 127, 127, 127, -1, 3, 100, -5, -127, 90, 127];
    let weights: [i8; 16] =
        [-1, -1, -128, -128, -128, -128, -128, -1, -128, 127, -2, 77, -128, -100, -3, -128];
    let starts = [1_000_000, -7, 123_456_789, -40_000];
    let sums = |value: fn(i8) -> i32| -> [i32; 4] {
        std::array::from_fn(|lane| {
            let products = inputs.iter().zip(weights).skip(4 * lane).take(4);
            let products = products.map(|(input, weight)| i32::from(*input) * value(weight));
            starts[lane] + products.sum::<i32>()
        })
    };
    let dots = dot(black_box(&inputs), black_box(&weights), black_box(&starts));
    if dots == sums(i32::from) {
        Operand::Signed
    } else if dots == sums(|weight| i32::from(weight as u8)) {
        Operand::Unsigned
    } else {
        Operand::Inexact
    }
}

#[target_feature(enable = "relaxed-simd")]
fn dot(inputs: &[i8; 16], weights: &[i8; 16], starts: &[i32; 4]) -> [i32; 4] {
    let mut dots = [0; 4];
    // SAFETY: each array is one vector long.
    unsafe {
        let vector = |values: *const v128| v128_load(values);
        let dot = i32x4_relaxed_dot_i8x16_i7x16_add(
            vector(inputs.as_ptr().cast()),
            vector(weights.as_ptr().cast()),
            vector(starts.as_ptr().cast()),
        );
        v128_store(dots.as_mut_ptr().cast(), dot);
    }
    dots
}

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
    let block = BlockLength::hidden();
    let m = activations.m();
    for panel in panels {
        for group in 0..m.div_ceil(ROWS) {
            let tile = match m - group * ROWS {
                1 => multiply_tile::<1>(weight, activations, panel, group, block),
                2 => multiply_tile::<2>(weight, activations, panel, group, block),
                3 => multiply_tile::<3>(weight, activations, panel, group, block),
                _ => multiply_tile::<4>(weight, activations, panel, group, block),
            };
            out.store(&tile, group * ROWS, panel * PANEL);
        }
    }
}

/// The number of quants of a panel's block. If the compiler knew it, it would unroll the loop over a block, and spill
/// registers.
#[derive(Clone, Copy)]
pub(super) struct BlockLength(usize);

impl BlockLength {
    pub(super) fn hidden() -> Self {
        Self(black_box(PANEL * BLOCK))
    }
}

/// `R` rows times a panel.
#[target_feature(enable = "relaxed-simd")]
pub(super) fn multiply_tile<const R: usize>(
    weight: &Int8Matrix,
    activations: &Activations,
    panel: usize,
    group: usize,
    block: BlockLength,
) -> Tile {
    let factors = Factors::new(weight, activations, panel, group);
    let totals = activations.group_totals(group).chunks_exact(ROWS);
    let inputs = activations.fours(group).chunks_exact(ROWS * BLOCK).zip(totals);
    let blocks = weight.panel(panel).chunks_exact(PANEL * BLOCK).zip(inputs);
    let lift = weight.packing().lift;
    factors.sum(blocks, |(quants, (inputs, totals))| -> Dots<R> {
        assert!(quants.len() == PANEL * BLOCK && inputs.len() == ROWS * BLOCK);
        let mut dots: Dots<R> = std::array::from_fn(|row| [i32x4_splat(-lift * totals[row]); 2]);
        let (mut quants, mut inputs) = (quants.as_ptr(), inputs.as_ptr());
        // SAFETY: this is the number of quants, checked above: `black_box` returns what it is given.
        let end = unsafe { quants.add(block.0) };
        while quants != end {
            // SAFETY: a step has four inputs for each of eight outputs, which is two vectors, and 32 bits for
            // each of four rows, which is one.
            let (low, high, rows) = unsafe {
                (
                    v128_load(quants.cast()),
                    v128_load(quants.add(16).cast()),
                    v128_load(inputs.cast()),
                )
            };
            let rows = [
                i32x4_shuffle::<0, 0, 0, 0>(rows, rows),
                i32x4_shuffle::<1, 1, 1, 1>(rows, rows),
                i32x4_shuffle::<2, 2, 2, 2>(rows, rows),
                i32x4_shuffle::<3, 3, 3, 3>(rows, rows),
            ];
            for (dots, row) in dots.iter_mut().zip(rows) {
                dots[0] = i32x4_relaxed_dot_i8x16_i7x16_add(row, low, dots[0]);
                dots[1] = i32x4_relaxed_dot_i8x16_i7x16_add(row, high, dots[1]);
            }
            // SAFETY: the block consists of whole steps, and this was one of them.
            unsafe {
                quants = quants.add(STEP);
                inputs = inputs.add(ROWS * 4);
            }
        }
        dots
    })
}
