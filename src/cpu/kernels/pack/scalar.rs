//! Packing in scalar code: the reference for the SIMD kernel.

use super::Packing;
use crate::cpu::kernels::{BLOCK, PANEL};

/// Interleaves eight rows into one block of a packed weight, `[32 / run][8][run]`, and adds `lift` to each
/// quant.
pub fn interleave_rows(rows: &[[i8; BLOCK]; PANEL], packing: Packing, into: &mut [i8]) {
    let run = packing.run.len();
    for (row, quants) in rows.iter().enumerate() {
        for (i, quant) in quants.iter().enumerate() {
            into[(i / run * PANEL + row) * run + i % run] = packing.lifted(*quant);
        }
    }
}
