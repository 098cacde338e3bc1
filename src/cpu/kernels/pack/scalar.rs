//! Packing written plainly: what the SIMD kernel is held against.

use super::Packing;
use crate::cpu::kernels::{BLOCK, PANEL};

/// A block of a packed weight `[32 / run][8][run]`, from eight rows of it, each quant lifted.
pub fn interleave_rows(rows: &[[i8; BLOCK]; PANEL], packing: Packing, into: &mut [i8]) {
    let run = packing.run.len();
    for (row, quants) in rows.iter().enumerate() {
        for (i, quant) in quants.iter().enumerate() {
            into[(i / run * PANEL + row) * run + i % run] = quant + packing.lift;
        }
    }
}
