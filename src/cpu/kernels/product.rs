//! `activations[m, k] * weight[n, k]^T` over int8 blocks, and the choice of kernel.
//!
//! The product of two blocks is exact in i32, and blocks are summed in f32, in order. So every kernel, with
//! any number of threads, gives the same bits.

#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod relaxed_narrow;
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use std::ops::Range;

use super::output::{Finish, Finishing, Output};
use super::pack::{Int8Matrix, Packing, Run};
use super::quantise::Activations;
use super::{PANEL, ROWS, split};
use crate::threads::POOL;

/// Sums of [`ROWS`] rows times a panel's outputs.
pub(super) type Tile = [[f32; PANEL]; ROWS];

/// A way to multiply, and which weights it supports.
pub(super) struct Kernel {
    /// The layout it expects of the quants of weights and activations.
    run: Run,
    /// The most bits a quant may have.
    most_bits: u32,
    /// Computes the tiles of these panels and stores them.
    pub(super) multiply: fn(&Int8Matrix, &Activations, Range<usize>, &Finishing),
}

/// Fastest first: a weight is packed for the first kernel that supports its bits.
const KERNELS: &[Kernel] = &[
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    relaxed_narrow::KERNEL,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    simd128::KERNEL,
    scalar::KERNEL,
    scalar::NARROW_KERNEL,
];

/// The best packing for a weight whose quants have `bits` bits and need `lift` to be unsigned.
pub fn packing(bits: u32, lift: i8) -> Packing {
    let kernel = KERNELS.iter().find(|kernel| bits <= kernel.most_bits);
    match kernel.expect("one takes 8 bits").run {
        Run::Two => Packing::PLAIN,
        run => Packing { run, bits, lift },
    }
}

fn kernel(packing: Packing) -> &'static Kernel {
    let takes = |kernel: &&Kernel| kernel.run == packing.run && packing.bits <= kernel.most_bits;
    KERNELS.iter().find(takes).expect("every packing has a kernel")
}

/// `out = finish(activations * weight^T + bias[n])`; an empty bias means none.
///
/// # Panics
/// If `out` does not have `m` rows of at least `n` columns, or if `k` differs.
pub fn int8_matmul(
    weight: &Int8Matrix,
    activations: &Activations,
    bias: &[f32],
    finish: Finish,
    out: Output,
) {
    let packing = weight.packing();
    assert_eq!((weight.k(), packing.run), (activations.k(), activations.run()));
    assert!(bias.is_empty() || bias.len() == weight.n());
    let columns = out.share(activations.m(), weight.n());
    let finishing = Finishing { columns, bias, finish };
    let multiply = kernel(packing).multiply;
    let panels = weight.n().div_ceil(PANEL);
    let parts = split(panels);
    POOL.run(parts, &|part| {
        let panels = panels * part / parts..panels * (part + 1) / parts;
        multiply(weight, activations, panels, &finishing);
    });
}
