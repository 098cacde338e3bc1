//! Quantising in scalar code: the reference for the SIMD kernel.

use super::{Group, GroupQuants};
use crate::cpu::kernels::{BLOCK, ROWS};
use crate::weights::blocks::scale_of;

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
#[inline]
pub fn quantise_rows(values: &[f32], k: usize, mut group: Group) {
    for (row, values) in values.chunks_exact(k).enumerate() {
        for (block, values) in values.chunks_exact(BLOCK).enumerate() {
            let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
            let (scale, inverse) = scale_of(maximum);
            let mut sum = 0;
            for (i, value) in values.iter().enumerate() {
                let quant = (value * inverse).round_ties_even() as i8;
                let k = block * BLOCK + i;
                match &mut group.quants {
                    GroupQuants::Two(quants) => {
                        quants[(k / 2 * ROWS + row) * 2 + k % 2] = quant.into();
                    }
                    GroupQuants::Four { quants, .. } => {
                        quants[(k / 4 * ROWS + row) * 4 + k % 4] = quant;
                    }
                }
                sum += i32::from(quant);
            }
            if let GroupQuants::Four { totals, .. } = &mut group.quants {
                totals[block * ROWS + row] = sum;
            }
            group.scales[block * ROWS + row] = scale;
            group.sums[block * ROWS + row] = scale * sum as f32;
        }
    }
}
