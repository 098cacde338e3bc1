//! The exponential in scalar code: the reference for the SIMD kernel.

use super::exp;
use crate::cpu::kernels::PANEL;

/// [`exp`] of each value.
#[inline(always)]
pub fn exp_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(exp)
}
