//! The activations in scalar code: the reference for the SIMD kernel.

use super::{gelu, gelu_tanh, quick_gelu};
use crate::cpu::kernels::PANEL;

/// [`gelu`] of each value.
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(gelu)
}

/// [`gelu_tanh`] of each value.
pub fn gelu_tanh_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(gelu_tanh)
}

/// [`quick_gelu`] of each value.
pub fn quick_gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    xs.map(quick_gelu)
}
