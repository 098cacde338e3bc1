//! The int8 product by itself in the browser, compared with the maximum throughput of its instructions.
//!
//! Compiled like the page's module, and run by `benches/kernels.mjs`.
#![cfg(target_arch = "wasm32")]

use std::arch::wasm32::{i16x8, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_splat, v128};
use std::hint::black_box;

use clip_wasm::cpu::kernels::{Activations, Finish, Int8Matrix, Output, int8_matmul, packing};
use wasm_bindgen::prelude::*;

/// Multiplications and additions in one `i32x4_dot_i16x8` and the addition to its sum.
const OPERATIONS: usize = 16;
const UNROLLED: usize = 2;

/// A product of seeded matrices, `[m, k] x [n, k]^T`, ready to run.
#[wasm_bindgen]
pub struct Product(Box<dyn FnMut()>);

#[wasm_bindgen]
impl Product {
    #[wasm_bindgen(constructor)]
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self(prepare(m, k, n))
    }

    pub fn run(&mut self, times: usize) {
        for _ in 0..times {
            (self.0)();
        }
    }
}

/// The only function that knows the kernels' interface. Quantising the activations is not timed.
fn prepare(m: usize, k: usize, n: usize) -> Box<dyn FnMut()> {
    let mut values = Values(m as u32 * 31 + k as u32 * 17 + n as u32);
    let mut weight = Int8Matrix::zeros(n, k, packing(8, 0)).expect("there is memory for it");
    let deviation = 1.0 / (k as f32).sqrt();
    for row in 0..n {
        weight.quantise_row(row, &values.take(k, deviation));
    }
    let mut activations = Activations::default();
    activations.quantise(&values.take(m * k, 1.0), k, weight.packing().run);
    let bias = values.take(n, 0.1);
    let mut out = vec![0.0; m * n];
    Box::new(move || {
        let out = Output::whole(black_box(&mut out), n);
        int8_matmul(&weight, black_box(&activations), &bias, Finish::Store, out);
    })
}

/// Seeded values, about normally distributed; none is so small that its products would be denormal.
struct Values(u32);

impl Values {
    fn take(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        (0..count).map(|_| deviation * self.next()).collect()
    }

    /// A sum of four uniform numbers, with standard deviation 1.
    fn next(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }

    /// Marsaglia's xorshift.
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / u32::MAX as f32
    }
}

/// `steps` times a dot product and an addition for each of 10 to 13 independent sums. Fewer sums do not
/// hide the latency of both instructions, and more do not fit in registers. Which number is fastest depends
/// on the engine.
#[wasm_bindgen]
pub fn ceiling(chains: usize, steps: usize) -> i32 {
    match chains {
        10 => chained::<10>(steps),
        11 => chained::<11>(steps),
        12 => chained::<12>(steps),
        13 => chained::<13>(steps),
        _ => panic!("{chains} chains are not in 10..=13"),
    }
}

fn chained<const CHAINS: usize>(steps: usize) -> i32 {
    let factor = black_box(i16x8(3, -1, 2, 5, -7, 1, 4, -2));
    let mut sums: [v128; CHAINS] = std::array::from_fn(|chain| i32x4_splat(chain as i32 + 1));
    for _ in 0..steps {
        // Unrolled twice, to halve the loop's own cost.
        for _ in 0..UNROLLED {
            for sum in &mut sums {
                // Each sum depends on the previous one, so that no compiler moves it out of the loop.
                *sum = i32x4_add(*sum, i32x4_dot_i16x8(*sum, factor));
            }
        }
    }
    sums.into_iter().fold(0, |total, sum| total ^ i32x4_extract_lane::<0>(sum))
}

/// Number of operations in one step of [`ceiling`].
#[wasm_bindgen(js_name = ceilingOperations)]
pub fn ceiling_operations(chains: usize) -> usize {
    UNROLLED * chains * OPERATIONS
}
