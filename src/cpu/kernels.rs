//! The arithmetic of the towers. An operation with handwritten SIMD has a folder, with a scalar file and a
//! SIMD file that give the same results.
//!
//! A weight `[n, k]` and its activations `[m, k]` are both stored as int8, with one f32 scale for every 32
//! values along `k`.

pub mod attention;
mod exp;
pub mod float;
pub mod gelu;
mod output;
mod pack;
mod product;
mod quantise;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vectors;

pub use output::{Finish, Output};
pub use pack::{Int8Matrix, Packing, Run};
pub use product::{int8_matmul, packing, products};
pub use quantise::Activations;

pub use crate::weights::blocks::BLOCK;

use crate::threads::POOL;

/// Outputs that are computed together; a packed weight is made of panels this wide.
pub const PANEL: usize = 8;
/// Rows of activations that are computed together.
pub const ROWS: usize = 4;

/// Parts per thread that a product is split into: if one thread is delayed, the others take over its parts.
const PARTS_PER_THREAD: usize = 12;

/// Calls `work`, compiled for wider vectors where the processor has them. Loops that the compiler vectorises get
/// faster, and their results stay the same: no lane does anything else, and nothing is fused.
#[inline(always)]
fn with_widest_vectors<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T>(work: impl FnOnce() -> T) -> T {
            work()
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { with_avx2(work) };
        }
    }
    work()
}

/// Number of parts to split `pieces` of work into.
fn split(pieces: usize) -> usize {
    match POOL.threads() {
        1 => 1,
        threads => pieces.min(threads * PARTS_PER_THREAD),
    }
}
