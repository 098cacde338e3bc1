//! Scaled dot-product attention over f32 rows.

use std::cell::RefCell;
use std::ops::Range;

use super::float::{Panels, softmax, tile};
use super::output::{Columns, Output};
use super::{PANEL, ROWS, with_widest_vectors};
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

/// One image's or text's rows among the rows of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// All its rows: their keys and values are attended to.
    pub rows: Range<usize>,
    /// The rows that attend: some of its own, or, unless attention is causal, any others.
    pub queries: Range<usize>,
}

impl Sequence {
    /// A sequence all of whose rows attend.
    pub fn whole(rows: Range<usize>) -> Self {
        Self { queries: rows.clone(), rows }
    }

    /// A sequence of which only `row` attends.
    pub fn of_row(rows: Range<usize>, row: usize) -> Self {
        Self { rows, queries: row..row + 1 }
    }
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

    /// Attention within each sequence of `qkv` `[n, 3 * width]`, where queries, keys and values stand side by
    /// side. A query attends to all rows of its sequence (to none after itself if causal). `out` is
    /// `[queries of all sequences, width]`.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn attend(&self, qkv: &[f32], sequences: &[Sequence], out: &mut [f32]) {
        assert!(qkv.len().is_multiple_of(3 * self.width()));
        let mut queries = 0;
        let placed: Vec<_> = sequences
            .iter()
            .map(|sequence| {
                let first = queries;
                queries += sequence.queries.len();
                (sequence, first)
            })
            .collect();
        let columns = Output::whole(out, self.width()).share(queries, self.width());
        POOL.run(sequences.len() * self.heads, &|part| {
            let (sequence, first) = placed[part / self.heads];
            SCRATCH.with_borrow_mut(|scratch| {
                with_widest_vectors(|| {
                    self.attend_head(qkv, sequence, part % self.heads, scratch, &columns, first);
                });
            });
        });
    }

    /// `out_row` is the row of `out` for the sequence's first query.
    #[inline(always)]
    fn attend_head(
        &self,
        qkv: &[f32],
        sequence: &Sequence,
        head: usize,
        scratch: &mut Scratch,
        out: &Columns,
        out_row: usize,
    ) {
        let (width, dim) = (self.width(), self.head_dim);
        let stride = 3 * width;
        let Range { start, end } = sequence.rows;
        let Sequence { queries, .. } = sequence;
        assert!(!self.causal || start <= queries.start && queries.end <= end);
        let all = qkv;
        let qkv = &qkv[start * stride..end * stride];
        let n = end - start;
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
                let query = &all[(first + row.min(rows - 1)) * stride + at..][..dim];
                for (scaled, q) in scaled.iter_mut().zip(query) {
                    *scaled = q * scale;
                }
            }
            // To what is after its last row, the group's attention is zero.
            let seen = |row: usize| if self.causal { n.min(row + 1 - start) } else { n };
            let most = seen(first + rows - 1);
            let group = four(scaled, dim, dim);
            for panel in 0..most.div_ceil(PANEL) {
                let sums = tile(group, keys.panel(panel), PANEL);
                for (scores, sums) in scores.chunks_exact_mut(padded).zip(sums) {
                    scores[panel * PANEL..][..PANEL].copy_from_slice(&sums);
                }
            }
            for (row, scores) in scores.chunks_exact_mut(padded).enumerate() {
                let seen = seen(first + row).min(most);
                softmax(&mut scores[..seen]);
                scores[seen..most].fill(0.0);
            }
            let group = four(scores, padded, most);
            for column in (0..dim).step_by(PANEL) {
                let value = 2 * width + at + column;
                let sums = if column + PANEL <= dim {
                    tile(group, &qkv[value..], stride)
                } else {
                    rest.repack(most, dim - column, |row, i| qkv[row * stride + value + i]);
                    tile(group, rest.panel(0), PANEL)
                };
                let width = PANEL.min(dim - column);
                for (row, sums) in sums.iter().enumerate().take(rows) {
                    let row = out_row + first - queries.start + row;
                    // SAFETY: these rows belong to one sequence and these columns to one head, and only this thread
                    // computes that head of that sequence.
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
                    let sequence = Sequence { rows: 0..n, queries: queries.clone() };
                    heads.attend(&qkv, &[sequence], &mut out);
                    for (i, got) in out.iter().enumerate() {
                        let want = oracle(&heads, &qkv, queries.start + i / width, i % width);
                        let error = (f64::from(*got) - want).abs();
                        assert!(error < 1e-4, "{heads:?}, {n} rows, {queries:?}: {got} for {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn sequences_of_a_batch_do_not_see_each_other() {
        for causal in [false, true] {
            let heads = Heads { heads: 2, head_dim: 20, causal };
            let width = heads.width();
            let qkv: Vec<f32> =
                (0..60 * 3 * width).map(|i| (i * 7919 % 1009) as f32 / 400.0 - 1.2).collect();
            let sequences = [
                Sequence::whole(0..7),
                Sequence::of_row(7..20, 9),
                Sequence::of_row(20..21, 20),
                Sequence::whole(21..60),
            ];
            let mut together = vec![f32::NAN; (7 + 1 + 1 + 39) * width];
            heads.attend(&qkv, &sequences, &mut together);
            let mut apart = Vec::new();
            for Sequence { rows, queries } in sequences {
                let alone = &qkv[rows.start * 3 * width..rows.end * 3 * width];
                let queries = queries.start - rows.start..queries.end - rows.start;
                let mut out = vec![f32::NAN; queries.len() * width];
                let sequence = Sequence { rows: 0..rows.len(), queries };
                heads.attend(alone, &[sequence], &mut out);
                apart.extend(out);
            }
            assert_eq!(together, apart);
        }
    }
}
