//! GELU written plainly: what the SIMD kernel is held against.

use super::gelu;
use crate::cpu::kernels::PANEL;

/// [`gelu`] of each.
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(gelu)
}
