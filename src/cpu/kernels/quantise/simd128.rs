//! Quantising in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4_abs, f32x4_add, f32x4_extract_lane, f32x4_max, f32x4_mul, f32x4_splat,
    i8x16_narrow_i16x8, i16x8_narrow_i32x4, i16x8_splat, i32x4_add, i32x4_dot_i16x8,
    i32x4_extract_lane, i32x4_shuffle, i32x4_splat, i32x4_sub, v128, v128_load, v128_store,
};

use super::{Group, GroupQuants, scale_of};
use crate::cpu::kernels::{BLOCK, ROWS};

/// Adding this to a number below 2^22 leaves the nearest integer, ties to even, in the low bits of the sum:
/// faster than rounding and converting.
const ROUND: f32 = 12_582_912.0;

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
pub fn quantise_rows(values: &[f32], k: usize, group: Group) {
    let scales = group.scales.chunks_exact_mut(ROWS);
    let sums = group.sums.chunks_exact_mut(ROWS);
    let blocks = (0..k / BLOCK).zip(scales.zip(sums)).map(|(block, (scales, sums))| {
        let mut rows = [[i32x4_splat(0); 4]; ROWS];
        let mut totals = [0; ROWS];
        for (row, packed) in rows.iter_mut().enumerate() {
            let values = values.get(row * k + block * BLOCK..).and_then(|rest| rest.get(..BLOCK));
            let Some(values) = values else { continue };
            (*packed, scales[row], totals[row]) = quantise_block(values);
            sums[row] = scales[row] * totals[row] as f32;
        }
        (rows, totals)
    });
    match group.quants {
        GroupQuants::Two(quants) => {
            for ((rows, _), quants) in blocks.zip(quants.chunks_exact_mut(ROWS * BLOCK)) {
                interleave(rows, quants);
            }
        }
        GroupQuants::Four { quants, totals } => {
            let quants = quants.chunks_exact_mut(ROWS * BLOCK);
            let totals = totals.chunks_exact_mut(ROWS);
            for ((rows, sums), (quants, totals)) in blocks.zip(quants.zip(totals)) {
                let bytes =
                    rows.map(|[a, b, c, d]| [i8x16_narrow_i16x8(a, b), i8x16_narrow_i16x8(c, d)]);
                interleave(bytes, quants);
                totals.copy_from_slice(&sums);
            }
        }
    }
}

/// Each vector of `rows` holds four runs of one row, 32 bits each; each stored vector holds one run of four
/// rows.
fn interleave<const N: usize, T>(rows: [[v128; N]; ROWS], quants: &mut [T]) {
    assert_eq!(size_of_val(quants), size_of_val(&rows));
    let to = quants.as_mut_ptr().cast::<v128>();
    for i in 0..N {
        let [a, b, c, d] = rows.map(|row| row[i]);
        let (ab_low, ab_high) =
            (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd_low, cd_high) =
            (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        let runs = [
            i32x4_shuffle::<0, 1, 4, 5>(ab_low, cd_low),
            i32x4_shuffle::<2, 3, 6, 7>(ab_low, cd_low),
            i32x4_shuffle::<0, 1, 4, 5>(ab_high, cd_high),
            i32x4_shuffle::<2, 3, 6, 7>(ab_high, cd_high),
        ];
        for (at, run) in runs.into_iter().enumerate() {
            // SAFETY: `quants` is as long as `rows`, and a store may be unaligned.
            unsafe { v128_store(to.add(4 * i + at), run) };
        }
    }
}

/// The quants of 32 values as 16 pairs of i16, their scale, and their sum.
fn quantise_block(values: &[f32]) -> ([v128; 4], f32, i32) {
    assert_eq!(values.len(), BLOCK);
    let at = |i: usize| {
        // SAFETY: 32 values are eight vectors.
        unsafe { v128_load(values.as_ptr().add(4 * i).cast()) }
    };
    let largest = (1..8).fold(f32x4_abs(at(0)), |largest, i| f32x4_max(largest, f32x4_abs(at(i))));
    let maximum = f32x4_extract_lane::<0>(largest)
        .max(f32x4_extract_lane::<1>(largest))
        .max(f32x4_extract_lane::<2>(largest))
        .max(f32x4_extract_lane::<3>(largest));
    let (scale, inverse) = scale_of(maximum);
    let (inverse, round) = (f32x4_splat(inverse), f32x4_splat(ROUND));
    let quants = |i: usize| i32x4_sub(f32x4_add(f32x4_mul(at(i), inverse), round), round);
    let mut packed = [i32x4_splat(0); 4];
    let mut sum = i32x4_splat(0);
    for (i, packed) in packed.iter_mut().enumerate() {
        *packed = i16x8_narrow_i32x4(quants(2 * i), quants(2 * i + 1));
        sum = i32x4_add(sum, i32x4_dot_i16x8(*packed, i16x8_splat(1)));
    }
    let sum = i32x4_extract_lane::<0>(sum)
        + i32x4_extract_lane::<1>(sum)
        + i32x4_extract_lane::<2>(sum)
        + i32x4_extract_lane::<3>(sum);
    (packed, scale, sum)
}
