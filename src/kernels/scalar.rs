//! The kernels written plainly: what the SIMD twins are held against.

use super::{Activations, BLOCK, Int8Matrix, PANEL, ROWS, store_tile};

pub fn int8_matmul(weight: &Int8Matrix, activations: &Activations, bias: &[f32], out: &mut [f32]) {
    let (m, n) = (activations.m(), weight.n());
    for panel in 0..n.div_ceil(PANEL) {
        for group in 0..m.div_ceil(ROWS) {
            let tile = tile(weight, activations, panel, group);
            store_tile(&tile, bias, (group * ROWS, panel * PANEL), (m, n), out);
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
