//! The product in wasm's 128-bit SIMD, over pairs widened to i16.

use std::arch::wasm32::{
    f32x4, f32x4_add, f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i16x8_load_extend_i8x8,
    i32x4_add, i32x4_dot_i16x8, i32x4_splat, v128, v128_load, v128_load32_splat, v128_store,
};
use std::cell::RefCell;
use std::ops::Range;

use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// Weights of any number of bits.
pub const KERNEL: Kernel =
    Kernel { run: Run::Two, most_bits: 8, lift: |_, _| Some(0), name: || "i16 pairs", multiply };

/// One step of a panel: eight outputs by two inputs.
const STEP: usize = PANEL * 2;

/// Bytes of widened panels that are multiplied by a group of rows in turn: so much stays in the L2 cache beside the rows.
const WIDENED_BYTES: usize = 128 << 10;

/// If the activations take no more than this, one panel at a time is multiplied by all of them, and its widened form stays
/// in the L1 cache.
const FEW_BYTES: usize = 64 << 10;

thread_local! {
    /// Some panels widened to i16.
    static WIDENED: RefCell<Vec<i16>> = const { RefCell::new(Vec::new()) };
}

/// Widens some panels to i16 while multiplying their first rows, and reuses that for all later rows: widening them for
/// every group of rows costs a third of the speed. Each group of rows is multiplied by all of these panels while it is
/// in the cache.
fn multiply(weight: &Int8Matrix, activations: &Activations, panels: Range<usize>, out: &Finishing) {
    let m = activations.m();
    let size = PANEL * weight.k();
    let bytes = |values: usize| size_of::<i16>() * values;
    let is_few = bytes(m * weight.k()) <= FEW_BYTES;
    let together = if is_few { 1 } else { (WIDENED_BYTES / bytes(size).max(1)).max(1) };
    WIDENED.with_borrow_mut(|widened| {
        widened.resize(together.min(panels.len()) * size, 0);
        for first in panels.clone().step_by(together) {
            let last = panels.end.min(first + together);
            for group in 0..m.div_ceil(ROWS) {
                let inputs = activations.pairs(group);
                for (panel, widened) in (first..last).zip(widened.chunks_exact_mut(size)) {
                    let factors = Factors::new(weight, activations, panel, group);
                    let quants = weight.panel(panel);
                    let tile = match (group, m - group * ROWS) {
                        (0, 1) => widen_and_multiply::<1>(&factors, inputs, quants, widened),
                        (0, 2) => widen_and_multiply::<2>(&factors, inputs, quants, widened),
                        (0, 3) => widen_and_multiply::<3>(&factors, inputs, quants, widened),
                        (0, _) => widen_and_multiply::<4>(&factors, inputs, quants, widened),
                        (_, 1) => multiply_widened::<1>(&factors, inputs, widened),
                        (_, 2) => multiply_widened::<2>(&factors, inputs, widened),
                        (_, 3) => multiply_widened::<3>(&factors, inputs, widened),
                        (_, _) => multiply_widened::<4>(&factors, inputs, widened),
                    };
                    out.store(&tile, group * ROWS, panel * PANEL);
                }
            }
        }
    });
}

/// `R` rows times a panel that is already widened.
fn multiply_widened<const R: usize>(factors: &Factors, inputs: &[i16], widened: &[i16]) -> Tile {
    let blocks = widened.chunks_exact(PANEL * BLOCK).zip(inputs.chunks_exact(ROWS * BLOCK));
    factors.sum(blocks, |(quants, inputs)| -> Dots<R> {
        // SAFETY: each step of the block reads two vectors.
        block(quants, inputs, |quants| unsafe {
            (v128_load(quants.cast()), v128_load(quants.add(8).cast()))
        })
    })
}

/// `R` rows times a panel; also stores the panel's widened form.
fn widen_and_multiply<const R: usize>(
    factors: &Factors,
    inputs: &[i16],
    quants: &[i8],
    widened: &mut [i16],
) -> Tile {
    let blocks = quants.chunks_exact(PANEL * BLOCK).zip(widened.chunks_exact_mut(PANEL * BLOCK));
    let blocks = blocks.zip(inputs.chunks_exact(ROWS * BLOCK));
    factors.sum(blocks, |((quants, widened), inputs)| -> Dots<R> {
        assert_eq!(quants.len(), widened.len());
        let mut widened = widened.as_mut_ptr();
        // SAFETY: each step of the block reads 16 bytes and writes two vectors.
        block(quants, inputs, |quants| unsafe {
            let low = i16x8_load_extend_i8x8(quants);
            let high = i16x8_load_extend_i8x8(quants.add(8));
            v128_store(widened.cast(), low);
            v128_store(widened.add(8).cast(), high);
            widened = widened.add(STEP);
            (low, high)
        })
    })
}

/// The scales and offsets that turn a tile's dot products into values.
pub(super) struct Factors<'a> {
    input_scales: &'a [f32],
    input_sums: &'a [f32],
    scales: &'a [f32],
    offsets: &'a [f32],
}

impl<'a> Factors<'a> {
    pub(super) fn new(
        weight: &'a Int8Matrix,
        activations: &'a Activations,
        panel: usize,
        group: usize,
    ) -> Self {
        Self {
            input_scales: activations.group_scales(group),
            input_sums: activations.group_sums(group),
            scales: weight.panel_scales(panel),
            offsets: weight.panel_offsets(panel),
        }
    }

    /// Sums the blocks; `dots` computes the dot products of one.
    #[inline(always)]
    pub(super) fn sum<const R: usize, T>(
        &self,
        blocks: impl Iterator<Item = T>,
        dots: impl Fn(T) -> Dots<R>,
    ) -> Tile {
        let mut sums = [[f32x4_splat(0.0); 2]; R];
        let scales = self.scales.chunks_exact(PANEL);
        let input_scales = self.input_scales.chunks_exact(ROWS);
        for ((block, scales), input_scales) in blocks.zip(scales).zip(input_scales) {
            let dots = dots(block);
            let scales = eight(scales);
            for row in 0..R {
                let input_scale = f32x4_splat(input_scales[row]);
                for half in 0..2 {
                    let scale = f32x4_mul(scales[half], input_scale);
                    let product = f32x4_mul(f32x4_convert_i32x4(dots[row][half]), scale);
                    sums[row][half] = f32x4_add(sums[row][half], product);
                }
            }
        }
        let offsets = self.offsets.chunks_exact(PANEL);
        for (offsets, inputs) in offsets.zip(self.input_sums.chunks_exact(ROWS)) {
            let offsets = eight(offsets);
            for row in 0..R {
                for half in 0..2 {
                    let product = f32x4_mul(offsets[half], f32x4_splat(inputs[row]));
                    sums[row][half] = f32x4_add(sums[row][half], product);
                }
            }
        }
        let mut tile = [[0.0; PANEL]; ROWS];
        for (tile, sums) in tile.iter_mut().zip(sums) {
            // SAFETY: a row of the tile is eight f32, which are two vectors.
            unsafe {
                v128_store(tile.as_mut_ptr().cast(), sums[0]);
                v128_store(tile.as_mut_ptr().add(4).cast(), sums[1]);
            }
        }
        tile
    }
}

/// The exact dot products of a block: `R` rows by eight outputs, i32.
pub(super) type Dots<const R: usize> = [[v128; 2]; R];

/// The dot products of a block; `step` returns the next pair of inputs of the eight outputs, widened.
///
/// The loop is small on purpose: V8 unrolls it itself, and spills registers if we unroll it here. The
/// pointers count up, so that the loads of a step differ by constants, which V8 encodes in the instruction
/// for all loads but the splats.
#[inline(always)]
fn block<const R: usize, T>(
    quants: &[T],
    inputs: &[i16],
    mut step: impl FnMut(*const T) -> (v128, v128),
) -> Dots<R> {
    assert!(quants.len() == PANEL * BLOCK && inputs.len() == ROWS * BLOCK);
    let (mut quants, mut inputs) = (quants.as_ptr(), inputs.as_ptr());
    // SAFETY: this is the end of the block.
    let end = unsafe { quants.add(PANEL * BLOCK) };
    let mut dots = [[i32x4_splat(0); 2]; R];
    while quants != end {
        let (low, high) = step(quants);
        for (row, dots) in dots.iter_mut().enumerate() {
            // SAFETY: a step has two inputs for each of four rows, which is 32 bits per row.
            let pair = unsafe { v128_load32_splat(inputs.add(2 * row).cast()) };
            dots[0] = i32x4_add(dots[0], i32x4_dot_i16x8(low, pair));
            dots[1] = i32x4_add(dots[1], i32x4_dot_i16x8(high, pair));
        }
        // SAFETY: the block consists of whole steps, and this was one of them.
        unsafe {
            quants = quants.add(STEP);
            inputs = inputs.add(ROWS * 2);
        }
    }
    dots
}

#[inline(always)]
fn eight(values: &[f32]) -> [v128; 2] {
    [
        f32x4(values[0], values[1], values[2], values[3]),
        f32x4(values[4], values[5], values[6], values[7]),
    ]
}
