//! f32 arithmetic whose roundings come in one order everywhere, natively and in the browser.
//!
//! A tensor library picks fused or split multiplications, and its own exponential, by the processor it
//! finds. The last bits then differ, and where activations are rounded to 8 bits after every layer, a
//! last bit becomes a whole step. Multiplications and additions alone round alike on every machine.

use super::{PANEL, ROWS};

/// The right side of a product, `[k, n]`, packed in panels of 8 columns: `[n / 8][k][8]`.
#[derive(Debug)]
pub struct Panels {
    k: usize,
    n: usize,
    values: Vec<f32>,
}

impl Panels {
    /// From `at(k, n)`.
    pub fn pack(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = vec![0.0; n.next_multiple_of(PANEL) * k];
        for (panel, values) in values.chunks_exact_mut(PANEL * k.max(1)).enumerate() {
            for (row, values) in values.chunks_exact_mut(PANEL).enumerate() {
                let columns = panel * PANEL..n.min((panel + 1) * PANEL);
                for (value, column) in values.iter_mut().zip(columns) {
                    *value = at(row, column);
                }
            }
        }
        Self { k, n, values }
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// `store(row, column, sum)` for each element of `a * self`, where `a` is `[m, k]`.
    pub fn multiply(&self, a: &[f32], mut store: impl FnMut(usize, usize, f32)) {
        let m = a.len() / self.k;
        for (panel, values) in self.values.chunks_exact(PANEL * self.k).enumerate() {
            for first in (0..m).step_by(ROWS) {
                // Rows beyond the last repeat it, so that one tile fits all.
                let rows = std::array::from_fn(|row| {
                    let row = (first + row).min(m - 1);
                    &a[row * self.k..][..self.k]
                });
                let tile = tile(rows, values);
                for (row, sums) in tile.iter().enumerate().take(m - first) {
                    for (column, sum) in sums.iter().enumerate().take(self.n - panel * PANEL) {
                        store(first + row, panel * PANEL + column, *sum);
                    }
                }
            }
        }
    }
}

/// Each sum begins at zero and takes its products in the order of `k`.
fn tile(rows: [&[f32]; ROWS], values: &[f32]) -> [[f32; PANEL]; ROWS] {
    let mut sums = [[0.0; PANEL]; ROWS];
    for (k, values) in values.chunks_exact(PANEL).enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let factor = row[k];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
    }
    sums
}

/// The exponential, to about two units in the last place; 0 below -87 and the largest power above 88.
///
/// Cody and Waite's reduction to `|r| <= ln 2 / 2`, then the series of `e^r` to its seventh term, whose
/// rest is under 2e-8.
pub fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    if x < -87.0 {
        return 0.0;
    }
    let x = x.min(88.0);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    for inverse in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + inverse;
    }
    series * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// Softmax in place.
pub fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// `x * sigmoid(1.702 x)`; the constant is that of OpenAI's model.py.
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_one() {
        for i in -8600..8800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!((exp(-200.0), exp(0.0)), (0.0, 1.0));
        assert!(exp(1e30).is_finite());
    }

    #[test]
    fn products_of_awkward_sizes_equal_the_plain_sum() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (4, 8, 8), (5, 64, 50), (9, 50, 17)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let b = |row: usize, column: usize| ((row * 53 + column * 29) % 97) as f32 / 48.0 - 1.0;
            let mut out = vec![f32::NAN; m * n];
            Panels::pack(k, n, b).multiply(&a, |row, column, sum| out[row * n + column] = sum);
            for (i, got) in out.iter().enumerate() {
                let want = (0..k).fold(0.0, |sum, j| sum + a[i / n * k + j] * b(j, i % n));
                assert_eq!(*got, want, "{m} x {k} x {n} at {i}");
            }
        }
    }
}
