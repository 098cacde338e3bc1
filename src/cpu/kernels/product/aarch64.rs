//! The product on 64-bit Arm: over bytes, with the dot product instruction where the processor has it.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vaddq_f32, vcvtq_f32_s32, vdupq_laneq_s32, vdupq_n_f32,
    vdupq_n_s32, vget_low_s8, vld1q_f32, vld1q_s8, vmull_high_s8, vmull_s8, vmulq_f32, vpadalq_s16,
    vpaddq_s16, vreinterpretq_s8_s32, vreinterpretq_s32_s8, vst1q_f32,
};
use std::arch::{asm, is_aarch64_feature_detected};
use std::ops::Range;

use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// With the dot product instruction.
pub const DOTPROD: Kernel = Kernel {
    run: Run::Four,
    most_bits: 8,
    lift: |_, _| is_aarch64_feature_detected!("dotprod").then_some(0),
    name: || "signed bytes (DOTPROD)",
    multiply: |weight, activations, panels, out| {
        // SAFETY: `lift` has found the feature, or this kernel would not have been chosen.
        unsafe { dotprod::multiply(weight, activations, panels, out) }
    },
};

/// With instructions that every processor has.
pub const NEON: Kernel = Kernel {
    run: Run::Four,
    most_bits: 8,
    lift: |_, _| Some(0),
    name: || "signed bytes (NEON)",
    multiply: |weight, activations, panels, out| {
        // SAFETY: every 64-bit Arm has the feature.
        unsafe { neon::multiply(weight, activations, panels, out) }
    },
};

/// One step of a panel: eight outputs by four inputs.
const STEP: usize = PANEL * 4;

/// `sums + weights * input`, four products each, where `input` is one of the four in `inputs`. The standard library has
/// no stable function for the instruction.
#[inline]
#[target_feature(enable = "dotprod")]
fn sdot<const LANE: i32>(sums: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction reads and writes registers only.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Like [`sdot`]. Two products fit in 16 bits, as no input is -128.
#[inline]
#[target_feature(enable = "neon")]
fn pairwise<const LANE: i32>(sums: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
    let input = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(inputs)));
    let low = vmull_s8(vget_low_s8(weights), vget_low_s8(input));
    let high = vmull_high_s8(weights, input);
    vpadalq_s16(sums, vpaddq_s16(low, high))
}

macro_rules! kernel {
    ($name:ident, $features:literal, $dot:ident) => {
        mod $name {
            use super::*;

            #[target_feature(enable = $features)]
            pub fn multiply(
                weight: &Int8Matrix,
                activations: &Activations,
                panels: Range<usize>,
                out: &Finishing,
            ) {
                for panel in panels {
                    for group in 0..activations.m().div_ceil(ROWS) {
                        let tile = tile(weight, activations, panel, group);
                        out.store(&tile, group * ROWS, panel * PANEL);
                    }
                }
            }

            /// Four rows times a panel.
            #[target_feature(enable = $features)]
            fn tile(
                weight: &Int8Matrix,
                activations: &Activations,
                panel: usize,
                group: usize,
            ) -> Tile {
                let mut sums = [[vdupq_n_f32(0.0); 2]; ROWS];
                let quants = weight.panel(panel).chunks_exact(PANEL * BLOCK);
                let inputs = activations.fours(group).chunks_exact(ROWS * BLOCK);
                let scales = weight.panel_scales(panel).chunks_exact(PANEL);
                let input_scales = activations.group_scales(group).chunks_exact(ROWS);
                let lift = weight.packing().lift;
                assert_eq!(lift, 0, "the instruction takes signed bytes");
                for (((quants, inputs), scales), input_scales) in
                    quants.zip(inputs).zip(scales).zip(input_scales)
                {
                    let mut dots = [[vdupq_n_s32(0); 2]; ROWS];
                    for (quants, inputs) in
                        quants.chunks_exact(STEP).zip(inputs.chunks_exact(ROWS * 4))
                    {
                        // SAFETY: a step has two vectors of weights, and one of inputs.
                        let (weights, inputs) = unsafe {
                            let weights =
                                [vld1q_s8(quants.as_ptr()), vld1q_s8(quants.as_ptr().add(16))];
                            (weights, vld1q_s8(inputs.as_ptr()))
                        };
                        for half in 0..2 {
                            dots[0][half] = $dot::<0>(dots[0][half], weights[half], inputs);
                            dots[1][half] = $dot::<1>(dots[1][half], weights[half], inputs);
                            dots[2][half] = $dot::<2>(dots[2][half], weights[half], inputs);
                            dots[3][half] = $dot::<3>(dots[3][half], weights[half], inputs);
                        }
                    }
                    let scales = eight(scales);
                    for row in 0..ROWS {
                        for half in 0..2 {
                            let scale = vmulq_f32(scales[half], vdupq_n_f32(input_scales[row]));
                            let product = vmulq_f32(vcvtq_f32_s32(dots[row][half]), scale);
                            sums[row][half] = vaddq_f32(sums[row][half], product);
                        }
                    }
                }
                let offsets = weight.panel_offsets(panel).chunks_exact(PANEL);
                for (offsets, inputs) in
                    offsets.zip(activations.group_sums(group).chunks_exact(ROWS))
                {
                    let offsets = eight(offsets);
                    for row in 0..ROWS {
                        for half in 0..2 {
                            let product = vmulq_f32(offsets[half], vdupq_n_f32(inputs[row]));
                            sums[row][half] = vaddq_f32(sums[row][half], product);
                        }
                    }
                }
                let mut tile: Tile = [[0.0; PANEL]; ROWS];
                for (tile, sums) in tile.iter_mut().zip(sums) {
                    // SAFETY: a row of the tile is eight f32, which are two vectors.
                    unsafe {
                        vst1q_f32(tile.as_mut_ptr(), sums[0]);
                        vst1q_f32(tile.as_mut_ptr().add(4), sums[1]);
                    }
                }
                tile
            }
        }
    };
}

kernel!(dotprod, "dotprod", sdot);
kernel!(neon, "neon", pairwise);

#[inline]
#[target_feature(enable = "neon")]
fn eight(values: &[f32]) -> [float32x4_t; 2] {
    assert_eq!(values.len(), PANEL);
    // SAFETY: eight values are two vectors.
    unsafe { [vld1q_f32(values.as_ptr()), vld1q_f32(values.as_ptr().add(4))] }
}
