//! The kernels written plainly: what the SIMD twins are held against.

use std::ops::Range;

use super::pack::{Rows, scale_of};
use super::{Activations, BLOCK, Int8Matrix, PANEL, ROWS};

/// The tiles of `panels`, each given to `store` with its first row and column.
pub fn int8_panels(
    weight: &Int8Matrix,
    activations: &Activations,
    panels: Range<usize>,
    store: &impl Fn(&[[f32; PANEL]; ROWS], usize, usize),
) {
    for panel in panels {
        for group in 0..activations.m().div_ceil(ROWS) {
            let tile = tile(weight, activations, panel, group);
            store(&tile, group * ROWS, panel * PANEL);
        }
    }
}

/// Four rows of activations times a panel of eight outputs.
fn tile(
    weight: &Int8Matrix,
    activations: &Activations,
    panel: usize,
    group: usize,
) -> [[f32; PANEL]; ROWS] {
    let mut sums = [[0.0; PANEL]; ROWS];
    let quants = weight.panel(panel).chunks_exact(PANEL * BLOCK);
    let inputs = activations.group(group).chunks_exact(ROWS * BLOCK);
    let scales = weight.panel_scales(panel).chunks_exact(PANEL);
    let input_scales = activations.group_scales(group).chunks_exact(ROWS);
    for (((quants, inputs), scales), input_scales) in
        quants.zip(inputs).zip(scales).zip(input_scales)
    {
        let dots = block(quants, inputs);
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

/// The exact dot products of one block: at most 32 * 127 * 128, far from i32's end.
fn block(quants: &[i8], inputs: &[i16]) -> [[i32; PANEL]; ROWS] {
    let mut dots = [[0; PANEL]; ROWS];
    for (quants, inputs) in quants.chunks_exact(PANEL * 2).zip(inputs.chunks_exact(ROWS * 2)) {
        for row in 0..ROWS {
            for column in 0..PANEL {
                let first = i32::from(quants[2 * column]) * i32::from(inputs[2 * row]);
                let second = i32::from(quants[2 * column + 1]) * i32::from(inputs[2 * row + 1]);
                dots[row][column] += first + second;
            }
        }
    }
    dots
}

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
pub fn quantise_rows(values: &[f32], k: usize, group: Rows) {
    for (row, values) in values.chunks_exact(k).enumerate() {
        for (block, values) in values.chunks_exact(BLOCK).enumerate() {
            let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
            let (scale, inverse) = scale_of(maximum);
            let mut sum = 0;
            for (i, value) in values.iter().enumerate() {
                let quant = (value * inverse).round_ties_even() as i16;
                let pair = (block * BLOCK + i) / 2;
                group.quants[(pair * ROWS + row) * 2 + i % 2] = quant;
                sum += i32::from(quant);
            }
            group.scales[block * ROWS + row] = scale;
            group.sums[block * ROWS + row] = scale * sum as f32;
        }
    }
}
