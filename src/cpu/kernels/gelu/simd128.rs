//! GELU in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4_add, f32x4_div, f32x4_mul, f32x4_pmax, f32x4_pmin, f32x4_splat, v128, v128_load,
    v128_store,
};

use super::{ERF_ABOVE, ERF_BELOW};
use crate::cpu::kernels::PANEL;

/// GELU of each value. Written by hand because the compiler vectorises only expressions about a dozen
/// operations deep: it clamped the error function's argument number by number.
#[inline(always)]
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    let of = f32x4_splat;
    let polynomial = |coefficients: &[f32], square: [v128; 2]| {
        let first = of(coefficients[0]);
        coefficients[1..].iter().fold([first; 2], |sums, coefficient| {
            each(|i| f32x4_add(f32x4_mul(sums[i], square[i]), of(*coefficient)))
        })
    };
    // SAFETY: eight f32 are two vectors, and a load may be unaligned.
    let xs = unsafe { [v128_load(xs.as_ptr().cast()), v128_load(xs.as_ptr().add(4).cast())] };
    let roots = each(|i| f32x4_mul(xs[i], of(std::f32::consts::FRAC_1_SQRT_2)));
    let bounded = each(|i| f32x4_pmin(f32x4_pmax(roots[i], of(-4.0)), of(4.0)));
    let square = each(|i| f32x4_mul(bounded[i], bounded[i]));
    let (above, below) = (polynomial(&ERF_ABOVE, square), polynomial(&ERF_BELOW, square));
    let erf = each(|i| f32x4_div(f32x4_mul(bounded[i], above[i]), below[i]));
    let products = each(|i| f32x4_mul(f32x4_mul(of(0.5), xs[i]), f32x4_add(of(1.0), erf[i])));
    let mut out = [0.0; PANEL];
    // SAFETY: eight f32 are two vectors.
    unsafe {
        v128_store(out.as_mut_ptr().cast(), products[0]);
        v128_store(out.as_mut_ptr().add(4).cast(), products[1]);
    }
    out
}

/// Applies `of` to both vectors, given their indices.
#[inline(always)]
fn each(of: impl Fn(usize) -> v128) -> [v128; 2] {
    [of(0), of(1)]
}
