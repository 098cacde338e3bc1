//! The kernels in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4, f32x4_add, f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i16x8_load_extend_i8x8,
    i32x4_add, i32x4_dot_i16x8, i32x4_splat, v128, v128_load, v128_load32_splat, v128_store,
};

use super::{Activations, BLOCK, Int8Matrix, PANEL, ROWS, store_tile};

/// Each panel is widened to i16 once and used for every group of rows: widening it in the inner loop
/// costs a third of the speed.
pub fn int8_matmul(weight: &Int8Matrix, activations: &Activations, bias: &[f32], out: &mut [f32]) {
    let (m, n, k) = (activations.m(), weight.n(), weight.k());
    let mut widened = vec![0i16; PANEL * k];
    for panel in 0..n.div_ceil(PANEL) {
        widen(weight.panel(panel), &mut widened);
        for group in 0..m.div_ceil(ROWS) {
            let tile = tile(weight, &widened, activations, panel, group);
            store_tile(&tile, bias, (group * ROWS, panel * PANEL), (m, n), out);
        }
    }
}

fn widen(quants: &[i8], widened: &mut [i16]) {
    for (quants, widened) in quants.chunks_exact(8).zip(widened.chunks_exact_mut(8)) {
        // SAFETY: both chunks are 8 elements long, which is what is read and written.
        unsafe {
            v128_store(widened.as_mut_ptr().cast(), i16x8_load_extend_i8x8(quants.as_ptr()));
        }
    }
}

/// Four rows of activations times a panel of eight outputs, which is two vectors.
fn tile(
    weight: &Int8Matrix,
    widened: &[i16],
    activations: &Activations,
    panel: usize,
    group: usize,
) -> [[f32; PANEL]; ROWS] {
    let mut sums = [[f32x4_splat(0.0); 2]; ROWS];
    let quants = widened.chunks_exact(PANEL * BLOCK);
    let inputs = activations.group(group).chunks_exact(ROWS * BLOCK);
    let scales = weight.panel_scales(panel).chunks_exact(PANEL);
    let input_scales = activations.group_scales(group).chunks_exact(ROWS);
    for (((quants, inputs), scales), input_scales) in
        quants.zip(inputs).zip(scales).zip(input_scales)
    {
        let dots = block(quants, inputs);
        let scales = eight(scales);
        for row in 0..ROWS {
            let input_scale = f32x4_splat(input_scales[row]);
            for half in 0..2 {
                let scale = f32x4_mul(scales[half], input_scale);
                let product = f32x4_mul(f32x4_convert_i32x4(dots[row][half]), scale);
                sums[row][half] = f32x4_add(sums[row][half], product);
            }
        }
    }
    let offsets = weight.panel_offsets(panel).chunks_exact(PANEL);
    for (offsets, inputs) in offsets.zip(activations.group_sums(group).chunks_exact(ROWS)) {
        let offsets = eight(offsets);
        for row in 0..ROWS {
            for half in 0..2 {
                let product = f32x4_mul(offsets[half], f32x4_splat(inputs[row]));
                sums[row][half] = f32x4_add(sums[row][half], product);
            }
        }
    }
    let mut tile = [[0.0; PANEL]; ROWS];
    for (tile, sums) in tile.iter_mut().zip(sums) {
        // SAFETY: a row of the tile is eight f32, which is two vectors.
        unsafe {
            v128_store(tile.as_mut_ptr().cast(), sums[0]);
            v128_store(tile.as_mut_ptr().add(4).cast(), sums[1]);
        }
    }
    tile
}

/// One step of the loop takes a pair of inputs. Unrolling it by hand spills and halves the speed.
#[inline(always)]
fn block(quants: &[i16], inputs: &[i16]) -> [[v128; 2]; ROWS] {
    let mut dots = [[i32x4_splat(0); 2]; ROWS];
    for (quants, inputs) in quants.chunks_exact(PANEL * 2).zip(inputs.chunks_exact(ROWS * 2)) {
        // SAFETY: the first chunk is 16 i16, two vectors; the second is 8 i16, four pairs of 32 bits.
        unsafe {
            let low = v128_load(quants.as_ptr().cast());
            let high = v128_load(quants.as_ptr().add(8).cast());
            for (row, dots) in dots.iter_mut().enumerate() {
                let pair = v128_load32_splat(inputs.as_ptr().add(2 * row).cast());
                dots[0] = i32x4_add(dots[0], i32x4_dot_i16x8(low, pair));
                dots[1] = i32x4_add(dots[1], i32x4_dot_i16x8(high, pair));
            }
        }
    }
    dots
}

fn eight(values: &[f32]) -> [v128; 2] {
    [
        f32x4(values[0], values[1], values[2], values[3]),
        f32x4(values[4], values[5], values[6], values[7]),
    ]
}
