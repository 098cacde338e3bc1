//! The product on x86 processors: over pairs widened to i16 with AVX2, or over bytes with AVX-VNNI.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16,
    _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};
use std::ops::Range;

use super::{Kernel, Tile};
use crate::cpu::kernels::output::Finishing;
use crate::cpu::kernels::pack::{Int8Matrix, Run};
use crate::cpu::kernels::quantise::Activations;
use crate::cpu::kernels::{BLOCK, PANEL, ROWS};

/// Weights in pairs.
pub const AVX2: Kernel = Kernel {
    run: Run::Two,
    most_bits: 8,
    lift: |_, _| is_x86_feature_detected!("avx2").then_some(0),
    name: || "i16 pairs (AVX2)",
    multiply: |weight, activations, panels, out| {
        // SAFETY: `lift` has found the feature, or this kernel would not have been chosen.
        unsafe { avx2::multiply(weight, activations, panels, out) }
    },
};

/// Weights in fours, lifted to unsigned bytes: the instruction multiplies unsigned by signed ones.
pub const VNNI: Kernel = Kernel {
    run: Run::Four,
    most_bits: 8,
    lift: |bits, lift| {
        let is_there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni");
        is_there.then_some(if bits == 8 { 128 } else { lift })
    },
    name: || "unsigned bytes (AVX-VNNI)",
    multiply: |weight, activations, panels, out| {
        // SAFETY: `lift` has found the features, or this kernel would not have been chosen.
        unsafe { vnni::multiply(weight, activations, panels, out) }
    },
};

/// [`VNNI`] with its instruction computed by others, so that the rest of it is tested on every machine.
#[cfg(test)]
pub const VNNI_EMULATED: Kernel = Kernel {
    lift: |bits, lift| {
        is_x86_feature_detected!("avx2").then_some(if bits == 8 { 128 } else { lift })
    },
    multiply: |weight, activations, panels, out| {
        // SAFETY: as for `AVX2`.
        unsafe { vnni_emulated::multiply(weight, activations, panels, out) }
    },
    ..VNNI
};

/// One row's next inputs, in each of a vector's lanes.
///
/// # Safety
/// There must be four bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn splat<T>(inputs: *const T) -> __m256i {
    // SAFETY: the caller's.
    _mm256_set1_epi32(unsafe { inputs.cast::<i32>().read_unaligned() })
}

/// What a sum of lifted weights starts with, so that the lift has no effect on it.
fn lifted_start(
    weight: &Int8Matrix,
    activations: &Activations,
    group: usize,
    block: usize,
    row: usize,
) -> i32 {
    -weight.packing().lift * activations.group_totals(group)[block * ROWS + row]
}

/// A kernel for one set of features: what differs is how a step's weights are loaded, and how its products are
/// added to the sums. A step is as many inputs as fit in 32 bits.
macro_rules! kernel {
    (
        $name:ident, $features:literal, $inputs:ident: $input:ty, $bytes_per_step:expr,
        $load:expr, $add:expr, $start:expr
    ) => {
        mod $name {
            use super::*;

            const STEPS: usize = PANEL * BLOCK / $bytes_per_step;
            const INPUTS: usize = size_of::<i32>() / size_of::<$input>();

            #[target_feature(enable = $features)]
            pub fn multiply(
                weight: &Int8Matrix,
                activations: &Activations,
                panels: Range<usize>,
                out: &Finishing,
            ) {
                let groups = activations.m().div_ceil(ROWS);
                // Two panels at a time: then there are more multiplications than loads.
                for panel in panels.clone().step_by(2) {
                    for group in 0..groups {
                        let rows = ROWS.min(activations.m() - group * ROWS);
                        match (rows, panels.end - panel) {
                            (1, 1) => tiles::<1, 1>(weight, activations, panel, group, out),
                            (2, 1) => tiles::<2, 1>(weight, activations, panel, group, out),
                            (3, 1) => tiles::<3, 1>(weight, activations, panel, group, out),
                            (_, 1) => tiles::<4, 1>(weight, activations, panel, group, out),
                            (1, _) => tiles::<1, 2>(weight, activations, panel, group, out),
                            (2, _) => tiles::<2, 2>(weight, activations, panel, group, out),
                            (3, _) => tiles::<3, 2>(weight, activations, panel, group, out),
                            (_, _) => tiles::<4, 2>(weight, activations, panel, group, out),
                        }
                    }
                }
            }

            /// `R` rows times `P` panels.
            #[target_feature(enable = $features)]
            fn tiles<const R: usize, const P: usize>(
                weight: &Int8Matrix,
                activations: &Activations,
                panel: usize,
                group: usize,
                out: &Finishing,
            ) {
                let blocks = weight.k() / BLOCK;
                let inputs = activations.$inputs(group);
                let input_scales = activations.group_scales(group);
                let mut sums = [[_mm256_setzero_ps(); P]; R];
                for block in 0..blocks {
                    let inputs = &inputs[block * ROWS * BLOCK..][..ROWS * BLOCK];
                    let mut dots: [[__m256i; P]; R] = std::array::from_fn(|row| {
                        [_mm256_set1_epi32($start(weight, activations, group, block, row)); P]
                    });
                    let quants: [&[i8]; P] = std::array::from_fn(|p| {
                        &weight.panel(panel + p)[block * PANEL * BLOCK..][..PANEL * BLOCK]
                    });
                    for step in 0..STEPS {
                        // SAFETY: a block has this many steps, each of so many bytes of weights, and four
                        // bytes of inputs for each of four rows.
                        unsafe {
                            let weights: [__m256i; P] = std::array::from_fn(|p| {
                                $load(quants[p].as_ptr().add(step * $bytes_per_step))
                            });
                            let inputs = inputs.as_ptr().add(step * ROWS * INPUTS);
                            for (row, dots) in dots.iter_mut().enumerate() {
                                let input = splat(inputs.add(row * INPUTS));
                                for (dots, weights) in dots.iter_mut().zip(weights) {
                                    *dots = $add(*dots, weights, input);
                                }
                            }
                        }
                    }
                    for p in 0..P {
                        let scales = &weight.panel_scales(panel + p)[block * PANEL..][..PANEL];
                        // SAFETY: there are eight.
                        let scales = unsafe { _mm256_loadu_ps(scales.as_ptr()) };
                        for row in 0..R {
                            let input_scale = _mm256_set1_ps(input_scales[block * ROWS + row]);
                            let scale = _mm256_mul_ps(scales, input_scale);
                            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[row][p]), scale);
                            sums[row][p] = _mm256_add_ps(sums[row][p], product);
                        }
                    }
                }
                for p in 0..P {
                    let offsets = weight.panel_offsets(panel + p).chunks_exact(PANEL);
                    let inputs = activations.group_sums(group).chunks_exact(ROWS);
                    for (offsets, inputs) in offsets.zip(inputs) {
                        // SAFETY: there are eight.
                        let offsets = unsafe { _mm256_loadu_ps(offsets.as_ptr()) };
                        for row in 0..R {
                            let product = _mm256_mul_ps(offsets, _mm256_set1_ps(inputs[row]));
                            sums[row][p] = _mm256_add_ps(sums[row][p], product);
                        }
                    }
                    let mut tile: Tile = [[0.0; PANEL]; ROWS];
                    for (tile, sums) in tile.iter_mut().zip(&sums) {
                        // SAFETY: a row of the tile is eight f32.
                        unsafe { _mm256_storeu_ps(tile.as_mut_ptr(), sums[p]) };
                    }
                    out.store(&tile, group * ROWS, (panel + p) * PANEL);
                }
            }
        }
    };
}

kernel!(
    avx2,
    "avx2",
    pairs: i16,
    PANEL * 2,
    |quants: *const i8| _mm256_cvtepi8_epi16(_mm_loadu_si128(quants.cast())),
    |sums, weights, inputs| _mm256_add_epi32(sums, _mm256_madd_epi16(weights, inputs)),
    |_, _, _, _, _| 0
);

kernel!(
    vnni,
    "avx2,avxvnni",
    fours: i8,
    PANEL * 4,
    |quants: *const i8| _mm256_loadu_si256(quants.cast()),
    |sums, weights, inputs| _mm256_dpbusd_avx_epi32(sums, weights, inputs),
    lifted_start
);

#[cfg(test)]
kernel!(
    vnni_emulated,
    "avx2",
    fours: i8,
    PANEL * 4,
    |quants: *const i8| _mm256_loadu_si256(quants.cast()),
    |sums: __m256i, weights: __m256i, inputs: __m256i| {
        let mut sums = std::mem::transmute::<__m256i, [i32; 8]>(sums);
        let weights = std::mem::transmute::<__m256i, [u8; 32]>(weights);
        let inputs = std::mem::transmute::<__m256i, [i8; 32]>(inputs);
        for (i, (weight, input)) in weights.into_iter().zip(inputs).enumerate() {
            sums[i / 4] += i32::from(weight) * i32::from(input);
        }
        std::mem::transmute::<[i32; 8], __m256i>(sums)
    },
    lifted_start
);
