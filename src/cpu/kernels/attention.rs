//! Scaled dot-product attention over f32 rows.

use std::cell::RefCell;
use std::ops::Range;

use super::float::{Panels, softmax, tile};
use super::output::{Columns, Output};
use super::{PANEL, ROWS};
use crate::error::Result;
use crate::threads::POOL;

/// The heads of a layer: `softmax(q k^T / sqrt(head_dim)) v` each.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Number of heads.
    pub heads: usize,
    /// Values per head.
    pub head_dim: usize,
    /// Whether a row attends only to itself and to the rows before it.
    pub causal: bool,
}

#[derive(Default)]
struct Scratch {
    keys: Panels,
    /// The last columns of the values, which do not fill a whole panel.
    rest: Panels,
    /// `[4, head_dim]`.
    queries: Vec<f32>,
    /// `[4, n]`, n rounded up to whole panels.
    scores: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Heads {
    /// Values of all heads together.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Reserves the memory this thread needs to attend to `n` rows. Other threads reserve theirs when they
    /// are called.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, n: usize) -> Result<()> {
        SCRATCH.with_borrow_mut(|Scratch { keys, rest, .. }| {
            keys.make_room(self.head_dim, n)?;
            match self.head_dim % PANEL {
                0 => Ok(()),
                left => rest.make_room(n, left),
            }
        })
    }

    /// Attention of the rows `queries` of `qkv` `[n, 3 * width]`, where queries, keys and values stand side
    /// by side. Each attends to all rows (to none after itself if causal). `out` is `[queries, width]`.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn attend(&self, qkv: &[f32], queries: Range<usize>, out: &mut [f32]) {
        assert!(
            qkv.len().is_multiple_of(3 * self.width())
                && queries.end * 3 * self.width() <= qkv.len()
        );
        let columns = Output::whole(out, self.width()).share(queries.len(), self.width());
        POOL.run(self.heads, &|head| {
            SCRATCH.with_borrow_mut(|scratch| {
                self.attend_head(qkv, queries.clone(), head, scratch, &columns);
            });
        });
    }

    fn attend_head(
        &self,
        qkv: &[f32],
        queries: Range<usize>,
        head: usize,
        scratch: &mut Scratch,
        out: &Columns,
    ) {
        let (width, dim) = (self.width(), self.head_dim);
        let stride = 3 * width;
        let n = qkv.len() / stride;
        let at = head * dim;
        let Scratch { keys, rest, queries: scaled, scores } = scratch;
        keys.repack(dim, n, |i, row| qkv[row * stride + width + at + i]);
        let padded = n.next_multiple_of(PANEL);
        scaled.resize(ROWS * dim, 0.0);
        scores.resize(ROWS * padded, 0.0);
        let scale = (dim as f32).sqrt().recip();
        for first in queries.clone().step_by(ROWS) {
            let rows = ROWS.min(queries.end - first);
            for (row, scaled) in scaled.chunks_exact_mut(dim).enumerate() {
                // The last row is repeated to fill the tile, so that every tile has four rows.
                let query = &qkv[(first + row.min(rows - 1)) * stride + at..][..dim];
                for (scaled, q) in scaled.iter_mut().zip(query) {
                    *scaled = q * scale;
                }
            }
            let group = four(scaled, dim, dim);
            for panel in 0..padded / PANEL {
                let sums = tile(group, keys.panel(panel), PANEL);
                for (scores, sums) in scores.chunks_exact_mut(padded).zip(sums) {
                    scores[panel * PANEL..][..PANEL].copy_from_slice(&sums);
                }
            }
            for (row, scores) in scores.chunks_exact_mut(padded).enumerate() {
                let seen = if self.causal { (first + row + 1).min(n) } else { n };
                softmax(&mut scores[..seen]);
                scores[seen..].fill(0.0);
            }
            let group = four(scores, padded, n);
            for column in (0..dim).step_by(PANEL) {
                let value = 2 * width + at + column;
                let sums = if column + PANEL <= dim {
                    tile(group, &qkv[value..], stride)
                } else {
                    rest.repack(n, dim - column, |row, i| qkv[row * stride + value + i]);
                    tile(group, rest.panel(0), PANEL)
                };
                let width = PANEL.min(dim - column);
                for (row, sums) in sums.iter().enumerate().take(rows) {
                    let row = first - queries.start + row;
                    // SAFETY: these columns belong to one head, and only this thread computes that head.
                    unsafe { out.piece(row, at + column, width) }.copy_from_slice(&sums[..width]);
                }
            }
        }
    }
}

/// Four rows of a matrix.
fn four(values: &[f32], stride: usize, len: usize) -> [&[f32]; ROWS] {
    std::array::from_fn(|row| &values[row * stride..][..len])
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// One element of the result in scalar f64.
    fn oracle(heads: &Heads, qkv: &[f32], row: usize, column: usize) -> f64 {
        let (width, dim) = (heads.width(), heads.head_dim);
        let n = qkv.len() / (3 * width);
        let at = |row: usize, part: usize, i: usize| f64::from(qkv[(row * 3 + part) * width + i]);
        let head = column / dim * dim;
        let seen = if heads.causal { row + 1 } else { n };
        let score =
            |other| (0..dim).map(|i| at(row, 0, head + i) * at(other, 1, head + i)).sum::<f64>();
        let weights: Vec<f64> =
            (0..seen).map(|other| (score(other) / (dim as f64).sqrt()).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights
            .iter()
            .enumerate()
            .map(|(other, weight)| weight / total * at(other, 2, column))
            .sum()
    }

    #[test]
    fn heads_of_awkward_sizes_equal_the_oracle() {
        for (n, heads, head_dim) in [(1, 1, 1), (7, 2, 20), (50, 3, 64), (77, 2, 80), (257, 1, 12)]
        {
            for causal in [false, true] {
                let heads = Heads { heads, head_dim, causal };
                let width = heads.width();
                let qkv: Vec<f32> =
                    (0..n * 3 * width).map(|i| (i * 7919 % 1009) as f32 / 400.0 - 1.2).collect();
                for queries in [0..n, 0..1, n - 1..n, n / 2..n] {
                    let mut out = vec![f32::NAN; queries.len() * width];
                    heads.attend(&qkv, queries.clone(), &mut out);
                    for (i, got) in out.iter().enumerate() {
                        let want = oracle(&heads, &qkv, queries.start + i / width, i % width);
                        let error = (f64::from(*got) - want).abs();
                        assert!(error < 1e-4, "{heads:?}, {n} rows, {queries:?}: {got} for {want}");
                    }
                }
            }
        }
    }
}
