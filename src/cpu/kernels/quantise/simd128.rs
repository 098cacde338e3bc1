//! Quantising in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4_abs, f32x4_add, f32x4_convert_i32x4, f32x4_div, f32x4_lt, f32x4_max, f32x4_mul,
    f32x4_splat, i8x16_narrow_i16x8, i16x8_narrow_i32x4, i16x8_splat, i32x4_add, i32x4_dot_i16x8,
    i32x4_shuffle, i32x4_splat, i32x4_sub, v128, v128_andnot, v128_load, v128_store,
};

use super::{Group, GroupQuants};
use crate::cpu::kernels::{BLOCK, ROWS};
use crate::weights::blocks::{LARGEST, LEAST_BLOCK_MAXIMUM};

/// Adding this to a number below 2^22 leaves the nearest integer, ties to even, in the low bits of the sum:
/// faster than rounding and converting.
const ROUND: f32 = 12_582_912.0;

/// What stands for a row that is missing: its scale is 0.
const ZEROS: [f32; BLOCK] = [0.0; BLOCK];

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
pub fn quantise_rows(values: &[f32], k: usize, group: Group) {
    let scales = group.scales.as_chunks_mut().0;
    let sums = group.sums.as_chunks_mut().0;
    let blocks = scales.iter_mut().zip(sums).enumerate().map(|(block, (scales, sums))| {
        let rows = std::array::from_fn(|row| {
            let rest = values.get(row * k + block * BLOCK..);
            rest.and_then(|rest| rest.first_chunk()).unwrap_or(&ZEROS)
        });
        (rows, scales, sums)
    });
    match group.quants {
        GroupQuants::Two(quants) => {
            let quants = quants.as_chunks_mut().0;
            for ((rows, scales, sums), quants) in blocks.zip(quants) {
                quantise_pairs(rows, quants, scales, sums);
            }
        }
        GroupQuants::Four { quants, totals } => {
            let quants = quants.as_chunks_mut().0.iter_mut();
            let totals = totals.as_chunks_mut().0;
            for ((rows, scales, sums), (quants, totals)) in blocks.zip(quants.zip(totals)) {
                quantise_fours(rows, quants, totals, scales, sums);
            }
        }
    }
}

/// A block of each of four rows.
type Rows<'a> = [&'a [f32; BLOCK]; ROWS];

fn quantise_pairs(
    rows: Rows,
    quants: &mut [i16; ROWS * BLOCK],
    scales: &mut [f32; ROWS],
    sums: &mut [f32; ROWS],
) {
    let (factors, inverses) = scales_of(rows);
    let mut totals = [i32x4_splat(0); ROWS];
    for (i, quants) in quants.as_chunks_mut::<{ 8 * ROWS }>().0.iter_mut().enumerate() {
        let pairs = eight(rows, inverses, i, &mut totals);
        interleave(pairs, quants);
    }
    store(scales, factors);
    store(sums, f32x4_mul(factors, f32x4_convert_i32x4(sum_of_each(totals))));
}

fn quantise_fours(
    rows: Rows,
    quants: &mut [i8; ROWS * BLOCK],
    totals: &mut [i32; ROWS],
    scales: &mut [f32; ROWS],
    sums: &mut [f32; ROWS],
) {
    let (factors, inverses) = scales_of(rows);
    let mut partial = [i32x4_splat(0); ROWS];
    for (i, quants) in quants.as_chunks_mut::<{ 16 * ROWS }>().0.iter_mut().enumerate() {
        let low = eight(rows, inverses, 2 * i, &mut partial);
        let high = eight(rows, inverses, 2 * i + 1, &mut partial);
        interleave(std::array::from_fn(|row| i8x16_narrow_i16x8(low[row], high[row])), quants);
    }
    let sum = sum_of_each(partial);
    store(totals, sum);
    store(scales, factors);
    store(sums, f32x4_mul(factors, f32x4_convert_i32x4(sum)));
}

/// What [`scale_of`](crate::weights::blocks::scale_of) gives for each row: the scales, and their inverses.
#[inline(always)]
fn scales_of(rows: Rows) -> (v128, v128) {
    let largest = rows.map(|row| {
        (1..BLOCK / 4)
            .fold(f32x4_abs(at(row, 0)), |largest, i| f32x4_max(largest, f32x4_abs(at(row, i))))
    });
    let maxima = fold_each(largest, |a, b| f32x4_max(a, b));
    let is_zero = f32x4_lt(maxima, f32x4_splat(LEAST_BLOCK_MAXIMUM));
    let largest = f32x4_splat(LARGEST);
    let scales = v128_andnot(f32x4_div(maxima, largest), is_zero);
    (scales, v128_andnot(f32x4_div(largest, maxima), is_zero))
}

/// The quants of eight neighbouring values of each row as i16; adds them to `totals`.
#[inline(always)]
fn eight(rows: Rows, inverses: v128, i: usize, totals: &mut [v128; ROWS]) -> [v128; ROWS] {
    let inverses = [
        i32x4_shuffle::<0, 0, 0, 0>(inverses, inverses),
        i32x4_shuffle::<1, 1, 1, 1>(inverses, inverses),
        i32x4_shuffle::<2, 2, 2, 2>(inverses, inverses),
        i32x4_shuffle::<3, 3, 3, 3>(inverses, inverses),
    ];
    let round = f32x4_splat(ROUND);
    std::array::from_fn(|row| {
        let quants = |i| {
            let rounded = f32x4_add(f32x4_mul(at(rows[row], i), inverses[row]), round);
            i32x4_sub(rounded, round)
        };
        let eight = i16x8_narrow_i32x4(quants(2 * i), quants(2 * i + 1));
        totals[row] = i32x4_add(totals[row], i32x4_dot_i16x8(eight, i16x8_splat(1)));
        eight
    })
}

fn sum_of_each(rows: [v128; ROWS]) -> v128 {
    fold_each(rows, |a, b| i32x4_add(a, b))
}

/// Folds each row's four lanes to one.
#[inline(always)]
fn fold_each([a, b, c, d]: [v128; ROWS], fold: impl Fn(v128, v128) -> v128) -> v128 {
    let two = |a, b| fold(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (ab, cd) = (two(a, b), two(c, d));
    fold(i32x4_shuffle::<0, 1, 4, 5>(ab, cd), i32x4_shuffle::<2, 3, 6, 7>(ab, cd))
}

/// Each vector of `rows` holds four runs of one row, 32 bits each; each stored vector holds one run of four
/// rows.
#[inline(always)]
fn interleave<T, const N: usize>([a, b, c, d]: [v128; ROWS], quants: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == size_of::<[v128; ROWS]>()) };
    let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    let runs = [
        i32x4_shuffle::<0, 1, 4, 5>(ab_low, cd_low),
        i32x4_shuffle::<2, 3, 6, 7>(ab_low, cd_low),
        i32x4_shuffle::<0, 1, 4, 5>(ab_high, cd_high),
        i32x4_shuffle::<2, 3, 6, 7>(ab_high, cd_high),
    ];
    let to = quants.as_mut_ptr().cast::<v128>();
    for (at, run) in runs.into_iter().enumerate() {
        // SAFETY: `quants` is four vectors long, and a store may be unaligned.
        unsafe { v128_store(to.add(at), run) };
    }
}

/// Four neighbouring values of a block.
#[inline(always)]
fn at(values: &[f32; BLOCK], i: usize) -> v128 {
    assert!(i < BLOCK / 4);
    // SAFETY: 32 values are eight vectors.
    unsafe { v128_load(values.as_ptr().add(4 * i).cast()) }
}

#[inline(always)]
fn store<T>(into: &mut [T; ROWS], values: v128) {
    const { assert!(size_of::<[T; ROWS]>() == size_of::<v128>()) };
    // SAFETY: four values of 32 bits are one vector.
    unsafe { v128_store(into.as_mut_ptr().cast(), values) };
}
