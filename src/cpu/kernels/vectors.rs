//! Eight f32 as two of wasm's vectors.

use std::arch::wasm32::{v128, v128_load, v128_load32_splat, v128_store};

use super::PANEL;

/// Eight f32.
pub type Vectors = [v128; 2];

/// Applies `of` to both vectors, given their indices.
#[inline(always)]
pub fn each(of: impl Fn(usize) -> v128) -> Vectors {
    [of(0), of(1)]
}

/// Eight values as vectors.
#[inline(always)]
pub fn load(values: &[f32; PANEL]) -> Vectors {
    // SAFETY: eight f32 are two vectors, and a load may be unaligned.
    each(|i| unsafe { v128_load(values.as_ptr().add(4 * i).cast()) })
}

/// Vectors as eight values.
#[inline(always)]
pub fn values([low, high]: Vectors) -> [f32; PANEL] {
    let mut values = [0.0; PANEL];
    // SAFETY: eight f32 are two vectors, and a store may be unaligned.
    unsafe {
        v128_store(values.as_mut_ptr().cast(), low);
        v128_store(values.as_mut_ptr().add(4).cast(), high);
    }
    values
}

/// A vector of one number. V8 takes four instructions for a vector that stands in the code, and one to load it; so the
/// number should come through `black_box`, or the compiler puts it into the code.
#[inline(always)]
pub fn constant(number: &f32) -> v128 {
    // SAFETY: it reads one number.
    unsafe { v128_load32_splat(std::ptr::from_ref(number).cast()) }
}
