//! Packing in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    i8x16_add, i8x16_splat, i16x8_shuffle, i32x4_shuffle, v128, v128_load, v128_store,
};

use super::{Packing, Run};
use crate::cpu::kernels::{BLOCK, PANEL};

/// Interleaves eight rows into one block of a packed weight, `[32 / run][8][run]`, and adds `lift` to each
/// quant.
pub fn interleave_rows(rows: &[[i8; BLOCK]; PANEL], packing: Packing, into: &mut [i8]) {
    assert_eq!(into.len(), PANEL * BLOCK);
    let lift = i8x16_splat(packing.lift as i8);
    for (half, into) in into.chunks_exact_mut(PANEL * 16).enumerate() {
        let rows = std::array::from_fn(|row| {
            // SAFETY: a row is two vectors long, and a load may be unaligned.
            let quants = unsafe { v128_load(rows[row].as_ptr().cast::<v128>().add(half)) };
            i8x16_add(quants, lift)
        });
        let runs = match packing.run {
            Run::Two => transpose(rows, |a, b| {
                let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
                (low, i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b))
            }),
            Run::Four => transpose(rows, |a, b| {
                (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b))
            }),
        };
        for (i, runs) in runs.into_iter().enumerate() {
            // SAFETY: half a block has room for eight vectors.
            unsafe { v128_store(into.as_mut_ptr().cast::<v128>().add(i), runs) };
        }
    }
}

/// Lane 0 of every vector, then lane 1 of every vector, and so on; `zip` interleaves two vectors.
///
/// Number the lanes through all vectors: the first three bits of such a number are the vector's, the rest
/// the lane's. Interleaving each vector with the one four places further on moves the first bit to the end;
/// after three rounds the vector's bits are last.
#[inline(always)]
fn transpose(
    mut vectors: [v128; PANEL],
    zip: impl Fn(v128, v128) -> (v128, v128),
) -> [v128; PANEL] {
    for _ in 0..PANEL.ilog2() {
        let [a, b, c, d, e, f, g, h] = vectors;
        let [(a, b), (c, d), (e, f), (g, h)] = [zip(a, e), zip(b, f), zip(c, g), zip(d, h)];
        vectors = [a, b, c, d, e, f, g, h];
    }
    vectors
}
