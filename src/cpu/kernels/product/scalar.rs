//! The product in scalar code: the reference for the SIMD kernels.

use std::ops::Range;

use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Packing, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// Weights in pairs.
pub const KERNEL: Kernel =
    Kernel { run: Run::Two, most_bits: 8, lift: |_, _| Some(0), name: || "scalar", multiply };
/// Weights in fours, for tests: lifted or not.
#[cfg(test)]
pub const FOURS_KERNEL: Kernel = Kernel { run: Run::Four, lift: |_, lift| Some(lift), ..KERNEL };

fn multiply(weight: &Int8Matrix, activations: &Activations, panels: Range<usize>, out: &Finishing) {
    for panel in panels {
        for group in 0..activations.m().div_ceil(ROWS) {
            let tile = tile(weight, activations, panel, group);
            out.store(&tile, group * ROWS, panel * PANEL);
        }
    }
}

/// Four rows of activations times a panel of eight outputs.
fn tile(weight: &Int8Matrix, activations: &Activations, panel: usize, group: usize) -> Tile {
    let mut sums = [[0.0; PANEL]; ROWS];
    let quants = weight.panel(panel).chunks_exact(PANEL * BLOCK);
    let scales = weight.panel_scales(panel).chunks_exact(PANEL);
    let input_scales = activations.group_scales(group).chunks_exact(ROWS);
    for (block, ((quants, scales), input_scales)) in
        quants.zip(scales).zip(input_scales).enumerate()
    {
        let inputs = block * ROWS * BLOCK..(block + 1) * ROWS * BLOCK;
        let Packing { run, lift, .. } = weight.packing();
        let dots = match run {
            Run::Two => dots::<2, _>(quants, 0, &activations.pairs(group)[inputs]),
            Run::Four => dots::<4, _>(quants, lift, &activations.fours(group)[inputs]),
        };
        for row in 0..ROWS {
            for column in 0..PANEL {
                let scale = scales[column] * input_scales[row];
                sums[row][column] += dots[row][column] as f32 * scale;
            }
        }
    }
    let offsets = weight.panel_offsets(panel).chunks_exact(PANEL);
    for (offsets, inputs) in offsets.zip(activations.group_sums(group).chunks_exact(ROWS)) {
        for row in 0..ROWS {
            for column in 0..PANEL {
                sums[row][column] += offsets[column] * inputs[row];
            }
        }
    }
    sums
}

/// The exact dot products of one block, with `RUN` neighbours along `k` stored together. A sum is at most
/// 32 * 127 * 128, far below i32's maximum.
fn dots<const RUN: usize, T: Copy + Into<i32>>(
    quants: &[i8],
    lift: i32,
    inputs: &[T],
) -> [[i32; PANEL]; ROWS] {
    let mut dots = [[0; PANEL]; ROWS];
    for (quants, inputs) in quants.chunks_exact(PANEL * RUN).zip(inputs.chunks_exact(ROWS * RUN)) {
        for row in 0..ROWS {
            for column in 0..PANEL {
                for i in 0..RUN {
                    let input: i32 = inputs[row * RUN + i].into();
                    let quant = quants[column * RUN + i].wrapping_sub(lift as i8);
                    dots[row][column] += i32::from(quant) * input;
                }
            }
        }
    }
    dots
}
