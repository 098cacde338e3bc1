//! The exponential in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4_add, f32x4_lt, f32x4_mul, f32x4_pmax, f32x4_pmin, f32x4_sub, i32x4_add, i32x4_shl,
    i32x4_splat, i32x4_sub, v128_andnot,
};
use std::f32::consts::LOG2_E;
use std::hint::black_box;

use super::{LEAST, LN_2_HIGH, LN_2_LOW, MOST, ROUND, SERIES};
use crate::cpu::kernels::PANEL;
use crate::cpu::kernels::vectors::{Vectors, constant, each, load, values};

const CONSTANTS: [f32; 6] = [LEAST, MOST, LOG2_E, ROUND, LN_2_HIGH, LN_2_LOW];

/// [`exp`](super::exp) of each value.
#[inline(always)]
pub fn exp_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    values(exp_vectors(load(&xs)))
}

/// [`exp`](super::exp) of each lane.
#[inline(always)]
pub fn exp_vectors(xs: Vectors) -> Vectors {
    let (constants, series) = black_box((&CONSTANTS, &SERIES));
    let [least, most, log2_e, round, ln_2_high, ln_2_low] = constants.each_ref().map(constant);
    let clamped = each(|i| f32x4_pmin(f32x4_pmax(xs[i], least), most));
    let shifted = each(|i| f32x4_add(f32x4_mul(clamped[i], log2_e), round));
    let n = each(|i| f32x4_sub(shifted[i], round));
    let r = each(|i| {
        let rest = f32x4_sub(clamped[i], f32x4_mul(n[i], ln_2_high));
        f32x4_sub(rest, f32x4_mul(n[i], ln_2_low))
    });
    let first = constant(&series[0]);
    let sums = series[1..].iter().fold([first; 2], |sums, coefficient| {
        let coefficient = constant(coefficient);
        each(|i| f32x4_add(f32x4_mul(sums[i], r[i]), coefficient))
    });
    each(|i| {
        let power = i32x4_add(i32x4_sub(shifted[i], round), i32x4_splat(127));
        let value = f32x4_mul(sums[i], i32x4_shl(power, 23));
        v128_andnot(value, f32x4_lt(xs[i], least))
    })
}
