//! `activations[m, k] * weight[n, k]^T` of int8 blocks, and which kernel computes it.
//!
//! The product of two blocks is exact in i32; blocks are summed in f32, in order, so that every kernel, and any number
//! of threads, gives the same bits.

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
use crate::cpu::threads::POOL;

/// Sums of [`ROWS`] rows by the outputs of a panel.
pub(super) type Tile = [[f32; PANEL]; ROWS];

/// A way to multiply, and the weights that it takes.
pub(super) struct Kernel {
    /// How their quants lie, and those of the activations.
    run: Run,
    /// Bits that a quant has at most.
    most_bits: u32,
    /// Computes the tiles of these panels, and stores each.
    pub(super) multiply: fn(&Int8Matrix, &Activations, Range<usize>, &Finishing),
}

/// The fastest first: a weight is packed for the first that takes its bits.
const KERNELS: &[Kernel] = &[
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    relaxed_narrow::KERNEL,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    simd128::KERNEL,
    scalar::KERNEL,
    scalar::NARROW_KERNEL,
];

/// How a weight is best packed whose quants have so many bits, and need `lift` to be without a sign.
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

/// `out = finish(activations * weight^T + bias[n])`; an empty bias is none.
///
/// # Panics
/// If `out` has not `m` rows of at least `n` columns, or `k` differs.
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
