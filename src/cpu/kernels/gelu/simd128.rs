//! The activations in wasm's 128-bit SIMD.

use std::arch::wasm32::{f32x4_add, f32x4_div, f32x4_mul, f32x4_pmax, f32x4_pmin};
use std::hint::black_box;

use super::{ERF_ABOVE, ERF_BELOW, QUICK, TANH_CUBIC, TANH_LINEAR};
use crate::cpu::kernels::PANEL;
use crate::cpu::kernels::exp::simd128::exp_vectors;
use crate::cpu::kernels::vectors::{Vectors, constant, each, load, values};

/// 1/√2, the bounds of the error function's argument, 1/2 and 1.
const FACTORS: [f32; 5] = [std::f32::consts::FRAC_1_SQRT_2, -4.0, 4.0, 0.5, 1.0];

/// [`gelu`](super::gelu) of each value. Written by hand because the compiler vectorises only expressions about a dozen
/// operations deep: it clamped the error function's argument number by number.
#[inline(always)]
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    let (factors, above, below) = black_box((&FACTORS, &ERF_ABOVE, &ERF_BELOW));
    let [root, least, most, half, one] = factors.each_ref().map(constant);
    let polynomial = |coefficients: &[f32], square: Vectors| {
        let first = constant(&coefficients[0]);
        coefficients[1..].iter().fold([first; 2], |sums, coefficient| {
            let coefficient = constant(coefficient);
            each(|i| f32x4_add(f32x4_mul(sums[i], square[i]), coefficient))
        })
    };
    let xs = load(&xs);
    let roots = each(|i| f32x4_mul(xs[i], root));
    let bounded = each(|i| f32x4_pmin(f32x4_pmax(roots[i], least), most));
    let square = each(|i| f32x4_mul(bounded[i], bounded[i]));
    let (above, below) = (polynomial(above, square), polynomial(below, square));
    let erf = each(|i| f32x4_div(f32x4_mul(bounded[i], above[i]), below[i]));
    values(each(|i| f32x4_mul(f32x4_mul(half, xs[i]), f32x4_add(one, erf[i]))))
}

/// [`gelu_tanh`](super::gelu_tanh) of each value.
#[inline(always)]
pub fn gelu_tanh_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    let factors = black_box(&[TANH_CUBIC, TANH_LINEAR, 1.0]);
    let [cubic, linear, one] = factors.each_ref().map(constant);
    let xs = load(&xs);
    let factors = each(|i| f32x4_add(f32x4_mul(cubic, f32x4_mul(xs[i], xs[i])), linear));
    let exponentials = exp_vectors(each(|i| f32x4_mul(xs[i], factors[i])));
    values(each(|i| f32x4_div(xs[i], f32x4_add(one, exponentials[i]))))
}

/// [`quick_gelu`](super::quick_gelu) of each value.
#[inline(always)]
pub fn quick_gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    let [quick, one] = black_box(&[-QUICK, 1.0]).each_ref().map(constant);
    let xs = load(&xs);
    let exponentials = exp_vectors(each(|i| f32x4_mul(quick, xs[i])));
    values(each(|i| f32x4_div(xs[i], f32x4_add(one, exponentials[i]))))
}
