//! f32 arithmetic that rounds in the same order everywhere, natively and in the browser.
//!
//! A tensor library chooses fused or separate multiply-add, and its own exponential, by the processor it
//! runs on. The last bits then differ; and since activations are rounded to 8 bits after every layer, a
//! difference in the last bit can become a whole quantisation step. Plain multiplications and additions
//! round the same on every machine.
//!
//! There is hardly any handwritten SIMD here: each lane has its own sum and nothing branches, so the
//! compiler vectorises the loops.

use super::exp::exp_each;
use super::output::{Columns, Finish, Output};
use super::{PANEL, ROWS, split, with_widest_vectors};
use crate::error::Result;
use crate::memory;
use crate::threads::POOL;

/// Number of partial sums that run side by side and are added at the end.
const LANES: usize = 8;

/// The right side of a product, `[k, n]`, packed in panels of 8 columns: `[n / 8][k][8]`.
#[derive(Debug, Default)]
pub struct Panels {
    k: usize,
    n: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Packs the values `at(k, n)`.
    pub fn pack(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = Self::default();
        panels.repack(k, n, at);
        panels
    }

    /// Like [`Panels::pack`], but reuses the memory it already has.
    pub fn repack(&mut self, k: usize, n: usize, at: impl Fn(usize, usize) -> f32) {
        (self.k, self.n) = (k, n);
        self.values.resize(n.next_multiple_of(PANEL) * k, 0.0);
        for (panel, values) in self.values.chunks_exact_mut(PANEL * k.max(1)).enumerate() {
            let columns = panel * PANEL..n.min((panel + 1) * PANEL);
            for (row, values) in values.chunks_exact_mut(PANEL).enumerate() {
                for (value, column) in values.iter_mut().zip(columns.clone()) {
                    *value = at(row, column);
                }
            }
        }
    }

    /// Reserves memory for `[k, n]`.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&mut self, k: usize, n: usize) -> Result<()> {
        let len = n.next_multiple_of(PANEL) as u64 * k as u64;
        memory::reserve_all(&mut self.values, len)
    }

    /// Number of inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The columns of a panel, `[k][8]`.
    pub(super) fn panel(&self, panel: usize) -> &[f32] {
        &self.values[panel * PANEL * self.k..][..PANEL * self.k]
    }

    /// `out = a * self`, where `a` is `[m, k]`.
    ///
    /// # Panics
    /// If `out` does not have `m` rows of at least `n` columns.
    pub fn multiply(&self, a: &[f32], out: Output) {
        let m = a.len() / self.k;
        let columns = out.share(m, self.n);
        let panels = self.n.div_ceil(PANEL);
        let parts = split(panels);
        POOL.run(parts, &|part| {
            for panel in panels * part / parts..panels * (part + 1) / parts {
                with_widest_vectors(|| self.multiply_panel(a, m, panel, &columns));
            }
        });
    }

    /// Works in pieces of `k` that stay in the L1 cache; each sum continues from piece to piece.
    #[inline(always)]
    fn multiply_panel(&self, a: &[f32], m: usize, panel: usize, columns: &Columns) {
        const PIECE: usize = 256;
        for from in (0..self.k).step_by(PIECE) {
            let to = self.k.min(from + PIECE);
            let values = &self.panel(panel)[from * PANEL..to * PANEL];
            let finish = if from == 0 { Finish::Store } else { Finish::Add };
            for first in (0..m).step_by(ROWS) {
                // The last row is repeated to fill the tile, so that every tile has four rows.
                let rows = std::array::from_fn(|row| {
                    let row = (first + row).min(m - 1);
                    &a[row * self.k + from..row * self.k + to]
                });
                let tile = tile(rows, values, PANEL);
                columns.store(&tile, &[], finish, first, panel * PANEL);
            }
        }
    }
}

/// `rows[4, k]` times eight columns; `columns` has one row of them every `stride` values. Each sum starts
/// at zero and adds its products in the order of `k`.
#[inline(always)]
pub(super) fn tile(rows: [&[f32]; ROWS], columns: &[f32], stride: usize) -> [[f32; PANEL]; ROWS] {
    let k = rows[0].len();
    let rows = rows.map(|row| &row[..k]);
    let mut sums = [[0.0; PANEL]; ROWS];
    for (i, values) in columns.chunks(stride).take(k).enumerate() {
        let values: &[f32; PANEL] = values[..PANEL].try_into().expect("eight values");
        for (sums, row) in sums.iter_mut().zip(rows) {
            let factor = row[i];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
    }
    sums
}

/// Softmax in place.
#[inline(always)]
pub fn softmax(scores: &mut [f32]) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let largest = fold(scores, f32::NEG_INFINITY, larger);
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for chunk in scores.chunks_mut(PANEL) {
        match chunk.first_chunk_mut() {
            Some(chunk) => *chunk = exp_each(chunk.map(|score| score - largest)),
            None => {
                let mut padded = [0.0; PANEL];
                padded[..chunk.len()].copy_from_slice(chunk);
                let exponentials = exp_each(padded.map(|score| score - largest));
                chunk.copy_from_slice(&exponentials[..chunk.len()]);
            }
        }
    }
    let inverse = 1.0 / total(fold(scores, 0.0, |sum, score| sum + score));
    for score in scores {
        *score *= inverse;
    }
}

/// Layer normalisation of each row of `xs` `[n, width]`, by the row's own mean and variance.
pub fn layer_norm(xs: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let rows = xs.chunks(ROWS * width).zip(out.chunks_mut(ROWS * width));
    POOL.each(rows, |(xs, out)| {
        for (xs, out) in xs.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            with_widest_vectors(|| layer_norm_row(xs, weight, bias, eps, out));
        }
    });
}

#[inline(always)]
fn layer_norm_row(xs: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let mean = sum(xs, |x| x) / width as f32;
    let variance = sum(xs, |x| (x - mean) * (x - mean)) / width as f32;
    let inverse = 1.0 / (variance + eps).sqrt();
    for (((out, x), weight), bias) in out.iter_mut().zip(xs).zip(weight).zip(bias) {
        *out = (x - mean) * inverse * weight + bias;
    }
}

#[inline(always)]
fn sum(xs: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    total(fold(xs, 0.0, |sum, x| sum + of(x)))
}

/// Folds the values whose index is the same modulo [`LANES`].
#[inline(always)]
fn fold(xs: &[f32], first: f32, fold: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut folded = [first; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        folded = std::array::from_fn(|lane| fold(folded[lane], chunk[lane]));
    }
    for (folded, x) in folded.iter_mut().zip(rest) {
        *folded = fold(*folded, *x);
    }
    folded
}

fn total(sums: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn softmax_and_layer_norm_of_awkward_widths_equal_the_plain_ones() {
        for width in [1, 7, 8, 50, 77, 257] {
            let xs: Vec<f32> = (0..width).map(|i| (i * 37 % 101) as f32 / 9.0 - 5.0).collect();
            let exact: Vec<f64> = xs.iter().map(|x| f64::from(*x)).collect();
            let mut scores = xs.clone();
            softmax(&mut scores);
            let total: f64 = exact.iter().map(|x| x.exp()).sum();
            for (got, x) in scores.iter().zip(&exact) {
                assert!((f64::from(*got) - x.exp() / total).abs() < 1e-6, "softmax of {width}");
            }
            let weight: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 / 50.0).collect();
            let mut out = vec![f32::NAN; width];
            layer_norm(&xs, &weight, &xs, 1e-5, &mut out);
            let mean = exact.iter().sum::<f64>() / width as f64;
            let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            for (i, got) in out.iter().enumerate() {
                let normed = (exact[i] - mean) / (variance + 1e-5).sqrt();
                let want = normed * f64::from(weight[i]) + exact[i];
                assert!((f64::from(*got) - want).abs() < 1e-4, "layer norm of {width} at {i}");
            }
        }
    }

    #[test]
    fn products_of_awkward_sizes_equal_the_plain_sum() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (4, 8, 8), (5, 64, 50), (9, 50, 17), (2, 600, 9)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let b = |row: usize, column: usize| ((row * 53 + column * 29) % 97) as f32 / 48.0 - 1.0;
            let mut out = vec![f32::NAN; m * n];
            Panels::pack(k, n, b).multiply(&a, Output::whole(&mut out, n));
            for (i, got) in out.iter().enumerate() {
                let want: f64 =
                    (0..k).map(|j| f64::from(a[i / n * k + j]) * f64::from(b(j, i % n))).sum();
                assert!((f64::from(*got) - want).abs() < 1e-4, "{m} x {k} x {n} at {i}");
            }
        }
    }
}
