//! int8 matrix products in blocks of 32, and the choice of a twin at compile time.
//!
//! A weight `[n, k]` and its activations `[m, k]` are both held as int8 with one f32 scale for every
//! 32 values along `k`. The product of two blocks is exact in i32; blocks are summed in f32, in order,
//! so that every twin gives the same bits.

pub mod float;
mod pack;
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

pub use pack::{Activations, Int8Matrix};

/// Values that share a scale.
pub const BLOCK: usize = 32;
/// Outputs that are computed together; a packed weight is made of panels this wide.
pub const PANEL: usize = 8;
/// Rows of activations that are computed together.
pub const ROWS: usize = 4;

/// `out[m, n] = activations[m, k] * weight[n, k]^T + bias[n]`.
///
/// # Panics
/// If `out` does not hold `m * n` values or `k` differs.
pub fn int8_matmul(weight: &Int8Matrix, activations: &Activations, bias: &[f32], out: &mut [f32]) {
    assert_eq!(weight.k(), activations.k());
    assert_eq!(out.len(), activations.m() * weight.n());
    assert!(bias.is_empty() || bias.len() == weight.n());
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    simd128::int8_matmul(weight, activations, bias, out);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    scalar::int8_matmul(weight, activations, bias, out);
}

/// Writes one finished tile of `rows` x [`PANEL`] sums into `out`, leaving out the padding.
fn store_tile(
    tile: &[[f32; PANEL]; ROWS],
    bias: &[f32],
    (row, column): (usize, usize),
    (m, n): (usize, usize),
    out: &mut [f32],
) {
    let width = PANEL.min(n - column);
    for (r, sums) in tile.iter().enumerate().take(m - row) {
        let out = &mut out[(row + r) * n + column..][..width];
        match bias.get(column..column + width) {
            Some(bias) => {
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                    *out = sum + bias;
                }
            }
            None => out.copy_from_slice(&sums[..width]),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

    /// Awkward, heavy-tailed and repeatable: zeros, denormals and extremes among them.
    fn values(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..n)
            .map(|i| match i % 97 {
                0 => 0.0,
                1 => 1e-41,
                2 => 300.0 * next(),
                _ => next() * next(),
            })
            .collect()
    }

    /// The same product in f64 over the dequantised values: what the twins must come close to.
    fn oracle(weight: &Int8Matrix, activations: &Activations, row: usize, column: usize) -> f64 {
        let products = (0..weight.k())
            .map(|k| f64::from(weight.value(column, k)) * f64::from(activations.value(row, k)));
        products.sum()
    }

    fn check(m: usize, n: usize, k: usize, offsets: bool) {
        let mut weight = Int8Matrix::zeros(n, k);
        let rows = values(7, n * k);
        for (row, values) in rows.chunks(k).enumerate() {
            weight.quantise_row(row, values);
        }
        if offsets {
            for row in 0..n {
                for block in 0..k / BLOCK {
                    let quants: [i8; BLOCK] = std::array::from_fn(|i| ((row + i) % 16) as i8);
                    weight.set_block(row, block, 0.01, -0.07 * (row % 3) as f32, &quants);
                }
            }
        }
        let activations = Activations::quantise(&values(3, m * k), k);
        let bias = values(5, n);
        let mut out = vec![f32::NAN; m * n];
        int8_matmul(&weight, &activations, &bias, &mut out);
        let mut taught = vec![f32::NAN; m * n];
        scalar::int8_matmul(&weight, &activations, &bias, &mut taught);
        assert_eq!(out, taught, "the twins differ at {m} x {n} x {k}");
        for (i, out) in out.iter().enumerate() {
            let want = oracle(&weight, &activations, i / n, i % n) + f64::from(bias[i % n]);
            let error = (f64::from(*out) - want).abs();
            assert!(error <= 2e-4 * (1.0 + want.abs()), "{m} x {n} x {k}: {out} for {want} at {i}");
        }
    }

    #[test]
    fn products_of_awkward_sizes_equal_the_oracle() {
        for (m, n, k) in
            [(1, 1, 32), (1, 8, 64), (3, 7, 32), (4, 9, 96), (5, 17, 64), (50, 40, 128)]
        {
            check(m, n, k, false);
            check(m, n, k, true);
        }
    }

    #[test]
    fn blocks_of_zeros_and_denormals_have_no_scale() {
        let activations = Activations::quantise(&[1e-40; 64], 64);
        assert_eq!((activations.value(0, 0), activations.value(0, 63)), (0.0, 0.0));
    }
}
