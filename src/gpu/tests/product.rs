//! Products, in all their variants.

use std::sync::Arc;

use super::*;
use crate::cpu::kernels::gelu::{gelu, quick_gelu};
use crate::cpu::kernels::{
    Activations as CpuActivations, Finish, Int8Matrix, Output, int8_matmul, packing,
};
use crate::gpu::device::Product;
use crate::gpu::kernels::{Copied, Kernel, Put, Sides};
use crate::gpu::weights::{Matrix, Values, buffer_of, quantised};
use crate::model::config::Activation;
use crate::weights::blocks::{BLOCK, quantised as blocks};

/// A weight on both sides.
struct Weight {
    cpu: Int8Matrix,
    gpu: Arc<Matrix>,
}

/// A weight of these values, with an offset for some blocks if `offsets`.
fn weight(gpu: &Gpu, values: &[f32], n: usize, k: usize, offsets: bool) -> Weight {
    let mut cpu = Int8Matrix::zeros(n, k, packing(8, 0)).unwrap();
    let matrix = quantised(gpu, "weight", values, n, k).unwrap();
    let mut shifts = Vec::new();
    for (row, values) in values.chunks(k).enumerate() {
        for (block, (scale, _, quants)) in blocks(values).enumerate() {
            let offset = if offsets { 0.02 * ((row + block) % 5) as f32 } else { 0.0 };
            shifts.push(offset);
            cpu.set_block(row, block, scale, offset, &quants);
        }
    }
    if let (true, Values::Int8 { offsets, .. }) = (offsets, &matrix.values) {
        offsets.set(buffer_of(gpu, "offsets", &shifts)).unwrap();
    }
    Weight { cpu, gpu: matrix.into() }
}

/// The product on the GPU, of activations that it quantises itself.
fn multiply(
    gpu: &Gpu,
    weight: &Matrix,
    product: Product,
    xs: &[f32],
    bias: &[f32],
    (activation, put): (Option<Activation>, Put),
    residual: &[f32],
) -> Activations {
    let (n, k) = (weight.n, weight.k);
    let rows = xs.len() / k;
    let inputs = activations(gpu, rows, k);
    let out = activations(gpu, rows, n);
    let bytes = super::super::weights::bytes_of(residual);
    gpu.queue().write_buffer(&out.floats, 0, &bytes);
    let [from, bias] = [xs, bias].map(|values| buffer_of(gpu, "x", values));
    run(gpu, Count::Rows, rows, |to| {
        let kernel = Kernel::CopyRows { from: Copied::All, put: Put::Int8 };
        let quantise = [(4, &from), (10, &inputs.quants), (11, &inputs.factors)];
        let outputs = match put {
            Put::Int8 => vec![(10, &out.quants), (11, &out.factors)],
            Put::Float | Put::Add => vec![(10, &out.floats)],
        };
        let (sides, mut buffers) = match &weight.values {
            Values::Int8 { quants, scales, offsets } => {
                to.each_row(kernel, Count::Rows, 1, &[k as u32], &quantise);
                let mut buffers =
                    vec![(2, &inputs.quants), (3, &inputs.factors), (4, quants), (5, scales)];
                buffers.extend(offsets.get().map(|offsets| (6, offsets)));
                let offsets = offsets.get().is_some();
                let sides = match product {
                    Product::Dot => Sides::Dot { offsets },
                    Product::Float => Sides::Unpacked { offsets },
                };
                (sides, buffers)
            }
            Values::Float(values) => (Sides::Float, vec![(2, &from), (4, values)]),
        };
        buffers.push((7, &bias));
        buffers.extend(outputs);
        let sizes = [n as u32, k as u32, 0];
        to.product((sides, activation, put), Count::Rows, sizes, &buffers);
    });
    out
}

fn on_cpu(
    weight: &Int8Matrix,
    xs: &[f32],
    bias: &[f32],
    finish: Finish,
    residual: &[f32],
) -> Vec<f32> {
    let mut quantised = CpuActivations::default();
    quantised.quantise(xs, weight.k(), weight.packing().run);
    let mut out = residual.to_vec();
    int8_matmul(weight, &quantised, bias, finish, Output::whole(&mut out, weight.n()));
    out
}

/// Outputs and inputs around the edges of tiles.
const SIZES: [(usize, usize); 6] = [(1, 32), (31, 64), (64, 96), (65, 32), (100, 256), (130, 768)];

#[test]
fn sums_of_whole_numbers_are_exact() {
    let Some(gpu) = gpu() else { return };
    for rows in AWKWARD {
        for (n, k) in SIZES {
            // With a 127 in each block, scales are 1: every sum is a whole number that f32 holds.
            let whole = |seed: usize, len: usize| -> Vec<f32> {
                let value = |i: usize| match i % BLOCK {
                    0 => 127.0,
                    _ => ((i * 7919 + seed * 31) % 255) as f32 - 127.0,
                };
                (0..len).map(value).collect()
            };
            let (xs, values) = (whole(1, rows * k), whole(2, n * k));
            let weight = weight(gpu, &values, n, k, false);
            let bias = vec![0.0; n];
            let residual = vec![0.0; rows * n];
            let want = on_cpu(&weight.cpu, &xs, &bias, Finish::Store, &residual);
            for product in [Product::Dot, Product::Float] {
                let kind = (None, Put::Float);
                let out = multiply(gpu, &weight.gpu, product, &xs, &bias, kind, &residual);
                let got = floats(gpu, &out.floats, rows * n);
                assert_eq!(got, want, "{product:?}: {rows} x {n} x {k}");
            }
        }
    }
}

#[test]
fn int8_products_are_the_cpus_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    for rows in [1, 33, 50, 77, 200] {
        for (n, k) in SIZES {
            for offsets in [false, true] {
                let weight = weight(gpu, &values(3, n * k), n, k, offsets);
                let (xs, bias) = (values(4, rows * k), values(5, n));
                let residual = values(6, rows * n);
                for (finish, activation, put) in [
                    (Finish::Store, None, Put::Float),
                    (Finish::Add, None, Put::Add),
                    (Finish::Gelu, Some(Activation::Gelu), Put::Float),
                    (Finish::GeluTanh, Some(Activation::GeluTanh), Put::Float),
                    (Finish::QuickGelu, Some(Activation::QuickGelu), Put::Float),
                ] {
                    let want = on_cpu(&weight.cpu, &xs, &bias, finish, &residual);
                    for product in [Product::Dot, Product::Float] {
                        let kind = (activation, put);
                        let out = multiply(gpu, &weight.gpu, product, &xs, &bias, kind, &residual);
                        let got = floats(gpu, &out.floats, rows * n);
                        let what =
                            format!("{finish:?}, {product:?}, {offsets}: {rows} x {n} x {k}");
                        assert_equal(&got, &want, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn results_that_are_rounded_to_int8_are_those_in_f32_rounded() {
    let Some(gpu) = gpu() else { return };
    for (rows, n, k) in [(1, 32, 32), (50, 64, 64), (77, 160, 96), (130, 256, 64)] {
        let weight = weight(gpu, &values(3, n * k), n, k, false);
        let (xs, bias) = (values(4, rows * k), values(5, n));
        for activation in [Activation::Gelu, Activation::QuickGelu] {
            let run = |put| {
                let kind = (Some(activation), put);
                multiply(gpu, &weight.gpu, Product::Dot, &xs, &bias, kind, &[])
            };
            let want = floats(gpu, &run(Put::Float).floats, rows * n);
            let out = run(Put::Int8);
            let got = quants(gpu, &out.quants, rows * n);
            let factors = floats(gpu, &out.factors, rows * n / BLOCK * 2);
            for (i, (scale, _, want)) in want.chunks(n).flat_map(blocks).enumerate() {
                assert_eq!(got[i * BLOCK..][..BLOCK], want, "{rows} x {n} x {k}, block {i}");
                assert_eq!(factors[2 * i], scale, "{rows} x {n} x {k}, block {i}");
            }
        }
    }
}

#[test]
fn products_in_f32_are_the_plain_sums() {
    let Some(gpu) = gpu() else { return };
    for rows in [1, 7, 50, 65, 150] {
        for (n, k) in [(1, 1), (31, 33), (64, 80), (65, 17), (100, 588)] {
            let (xs, weights, bias) = (values(7, rows * k), values(8, n * k), values(9, n));
            let values = Values::Float(buffer_of(gpu, "weight", &weights));
            let matrix = Matrix { n, k, values };
            let mut plain = Vec::new();
            for row in xs.chunks(k) {
                for (weights, bias) in weights.chunks(k).zip(&bias) {
                    let sum: f64 =
                        row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    plain.push((sum + f64::from(*bias)) as f32);
                }
            }
            type Function = fn(f32) -> f32;
            let kinds: [(Option<Activation>, Function); 3] = [
                (None, |x| x),
                (Some(Activation::Gelu), gelu),
                (Some(Activation::QuickGelu), quick_gelu),
            ];
            for (activation, function) in kinds {
                let want: Vec<f32> = plain.iter().map(|x| function(*x)).collect();
                let kind = (activation, Put::Float);
                let out = multiply(gpu, &matrix, Product::Float, &xs, &bias, kind, &[]);
                let got = floats(gpu, &out.floats, rows * n);
                assert_close(&got, &want, 1e-5, &format!("{activation:?}: {rows} x {n} x {k}"));
            }
        }
    }
}
