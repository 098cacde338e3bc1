//! The arithmetic of the towers. An operation with handwritten SIMD has a folder, with a scalar file and a
//! SIMD file that give the same results.
//!
//! A weight `[n, k]` and its activations `[m, k]` are both stored as int8, with one f32 scale for every 32
//! values along `k`.

pub mod attention;
pub mod float;
pub mod gelu;
mod output;
mod pack;
mod product;
mod quantise;
#[cfg(test)]
mod tests;

pub use output::{Finish, Output};
pub use pack::{Int8Matrix, Packing, Run};
pub use product::{int8_matmul, packing};
pub use quantise::Activations;

use crate::threads::POOL;

/// Values that share a scale.
pub const BLOCK: usize = 32;
/// Outputs that are computed together; a packed weight is made of panels this wide.
pub const PANEL: usize = 8;
/// Rows of activations that are computed together.
pub const ROWS: usize = 4;

/// Parts per thread that a product is split into: if one thread is delayed, the others take over its parts.
const PARTS_PER_THREAD: usize = 12;

/// Number of parts to split `pieces` of work into.
fn split(pieces: usize) -> usize {
    match POOL.threads() {
        1 => 1,
        threads => pieces.min(threads * PARTS_PER_THREAD),
    }
}
