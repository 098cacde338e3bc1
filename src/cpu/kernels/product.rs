//! `activations[m, k] * weight[n, k]^T` over int8 blocks, and the choice of kernel.
//!
//! The product of two blocks is exact in i32, and blocks are summed in f32, in order. So every kernel, with
//! any number of threads, gives the same bits.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod byte_dot;
#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod relaxed_narrow;
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use super::output::{Finish, Finishing, Output};
use super::pack::{Int8Matrix, Packing, Run};
use super::quantise::Activations;
use super::{PANEL, ROWS, split};
use crate::threads::POOL;

/// Sums of [`ROWS`] rows times a panel's outputs.
pub(super) type Tile = [[f32; PANEL]; ROWS];

/// A way to multiply, and which weights it supports.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// The layout it expects of the quants of weights and activations.
    run: Run,
    /// The most bits a quant may have.
    most_bits: u32,
    /// The lift it needs for quants of so many bits, which the given lift would make unsigned; `None` if this
    /// processor cannot run it.
    lift: fn(bits: u32, lift: i32) -> Option<i32>,
    /// What it multiplies, as users are told.
    pub(super) name: fn() -> &'static str,
    /// Computes the tiles of these panels and stores them.
    pub(super) multiply: fn(&Int8Matrix, &Activations, Range<usize>, &Finishing),
}

/// Fastest first: a weight is packed for the first kernel that supports its bits and runs here.
const KERNELS: &[Kernel] = &[
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    byte_dot::KERNEL,
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    relaxed_narrow::KERNEL,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    simd128::KERNEL,
    #[cfg(target_arch = "aarch64")]
    aarch64::DOTPROD,
    #[cfg(target_arch = "aarch64")]
    aarch64::NEON,
    #[cfg(target_arch = "x86_64")]
    x86::VNNI,
    #[cfg(target_arch = "x86_64")]
    x86::AVX2,
    scalar::KERNEL,
    #[cfg(test)]
    scalar::FOURS_KERNEL,
];

/// Every kernel that this machine can run, and the layout that it wants of a weight.
#[cfg(test)]
pub(super) fn runnable(bits: u32, lift: i32) -> Vec<(&'static str, Packing, Kernel)> {
    let emulated = [
        #[cfg(target_arch = "x86_64")]
        x86::VNNI_EMULATED,
    ];
    KERNELS
        .iter()
        .copied()
        .chain(emulated)
        .filter(|kernel| bits <= kernel.most_bits)
        .filter_map(|kernel| {
            let lift = (kernel.lift)(bits, lift)?;
            Some(((kernel.name)(), Packing { run: kernel.run, bits, lift }, kernel))
        })
        .collect()
}

/// The best packing for a weight whose quants have `bits` bits and need `lift` to be unsigned.
pub fn packing(bits: u32, lift: i32) -> Packing {
    let packed = |kernel: &Kernel| {
        let lift = (kernel.lift)(bits, lift).filter(|_| bits <= kernel.most_bits)?;
        Some(match kernel.run {
            Run::Two => Packing::PLAIN,
            run => Packing { run, bits, lift },
        })
    };
    KERNELS.iter().find_map(packed).expect("one takes 8 bits everywhere")
}

/// The kernel for a weight that was packed by [`packing`].
fn kernel(packing: Packing) -> &'static Kernel {
    let takes = |kernel: &&Kernel| {
        kernel.run == packing.run
            && packing.bits <= kernel.most_bits
            && (kernel.lift)(packing.bits, packing.lift) == Some(packing.lift)
    };
    KERNELS.iter().find(takes).expect("every packing has a kernel")
}

/// What the kernel for 8-bit weights multiplies here.
pub fn products() -> &'static str {
    (kernel(packing(8, 0)).name)()
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
