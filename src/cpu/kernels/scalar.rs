//! The kernels written plainly: what the SIMD twins are held against.

use std::ops::Range;

use super::float::gelu;
use super::pack::{RowQuants, Rows, scale_of};
use super::{Activations, BLOCK, Int8Matrix, Layout, PANEL, ROWS};

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
    let scales = weight.panel_scales(panel).chunks_exact(PANEL);
    let input_scales = activations.group_scales(group).chunks_exact(ROWS);
    for (block, ((quants, scales), input_scales)) in
        quants.zip(scales).zip(input_scales).enumerate()
    {
        let inputs = block * ROWS * BLOCK..(block + 1) * ROWS * BLOCK;
        let dots = match weight.layout() {
            Layout::Pairs => dots::<2, _>(quants, &activations.pairs(group)[inputs], &[0; ROWS]),
            Layout::Fours => {
                let totals = &activations.group_totals(group)[block * ROWS..];
                let starts = std::array::from_fn(|row| -i32::from(weight.lift()) * totals[row]);
                dots::<4, _>(quants, &activations.fours(group)[inputs], &starts)
            }
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

/// The exact dot products of one block, of which `RUN` neighbours along `k` lie together, each added to its row's
/// start: at most 32 * 127 * 128, far from i32's end.
fn dots<const RUN: usize, T: Copy + Into<i32>>(
    quants: &[i8],
    inputs: &[T],
    starts: &[i32; ROWS],
) -> [[i32; PANEL]; ROWS] {
    let mut dots = starts.map(|start| [start; PANEL]);
    for (quants, inputs) in quants.chunks_exact(PANEL * RUN).zip(inputs.chunks_exact(ROWS * RUN)) {
        for row in 0..ROWS {
            for column in 0..PANEL {
                for i in 0..RUN {
                    let input: i32 = inputs[row * RUN + i].into();
                    dots[row][column] += i32::from(quants[column * RUN + i]) * input;
                }
            }
        }
    }
    dots
}

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
pub fn quantise_rows(values: &[f32], k: usize, mut group: Rows) {
    for (row, values) in values.chunks_exact(k).enumerate() {
        for (block, values) in values.chunks_exact(BLOCK).enumerate() {
            let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
            let (scale, inverse) = scale_of(maximum);
            let mut sum = 0;
            for (i, value) in values.iter().enumerate() {
                let quant = (value * inverse).round_ties_even() as i8;
                let k = block * BLOCK + i;
                match &mut group.quants {
                    RowQuants::Pairs(quants) => {
                        quants[(k / 2 * ROWS + row) * 2 + k % 2] = quant.into();
                    }
                    RowQuants::Fours { quants, .. } => {
                        quants[(k / 4 * ROWS + row) * 4 + k % 4] = quant;
                    }
                }
                sum += i32::from(quant);
            }
            if let RowQuants::Fours { totals, .. } = &mut group.quants {
                totals[block * ROWS + row] = sum;
            }
            group.scales[block * ROWS + row] = scale;
            group.sums[block * ROWS + row] = scale * sum as f32;
        }
    }
}

/// A block of a packed weight `[32 / run][8][run]`, from eight rows of it, each quant with `lift` added.
pub fn interleave_rows(rows: &[[i8; BLOCK]; PANEL], layout: Layout, lift: i8, into: &mut [i8]) {
    let run = layout.run();
    for (row, quants) in rows.iter().enumerate() {
        for (i, quant) in quants.iter().enumerate() {
            into[(i / run * PANEL + row) * run + i % run] = quant + lift;
        }
    }
}

/// [`gelu`] of each.
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(gelu)
}
