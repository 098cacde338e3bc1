//! Activations as the product's kernels read them, rounded to 8 bits.

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "it serves where SIMD is lacking")
)]
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::pack::Run;
use super::{BLOCK, ROWS};
use crate::cpu::threads::POOL;
use crate::error::Result;
use crate::memory;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use scalar::quantise_rows;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd128::quantise_rows;

/// A block whose largest value is below this is taken for zeros: its scale would be denormal, and a
/// product of denormals runs many times slower than any other.
const LEAST_BLOCK_MAXIMUM: f32 = 1e-30;

/// Rows of activations `[m, k]`, quantised as the weights are, as the weight lies that they meet. Made to
/// be used again: a buffer that is large enough is kept.
///
/// Packed four rows at a time, neighbouring `k` together, as for pairs `r0k0 r0k1 r1k0 r1k1 …`.
#[derive(Debug, Default, PartialEq)]
pub struct Activations {
    m: usize,
    k: usize,
    run: Run,
    /// The quants in pairs, widened.
    pairs: Vec<i16>,
    /// The quants in fours.
    fours: Vec<i8>,
    /// With fours, the sum of a block's quants, for weights that are lifted; as `scales`.
    totals: Vec<i32>,
    /// `[row / 4][block][4]`.
    scales: Vec<f32>,
    /// The sum of a block's values, for weights with offsets; as `scales`.
    sums: Vec<f32>,
}

/// The place of four rows in [`Activations`]: their quants, and `[block][4]` twice.
pub(super) struct Group<'a> {
    /// Their values as integers.
    pub quants: GroupQuants<'a>,
    /// What a block's quants are multiplied by.
    pub scales: &'a mut [f32],
    /// The sum of a block's values.
    pub sums: &'a mut [f32],
}

/// `[k / run][4][run]`, and for fours `[block][4]` totals.
pub(super) enum GroupQuants<'a> {
    /// [`Run::Two`].
    Two(&'a mut [i16]),
    /// [`Run::Four`].
    Four {
        /// Their values as integers.
        quants: &'a mut [i8],
        /// The sum of each block's.
        totals: &'a mut [i32],
    },
}

impl Group<'_> {
    /// What pads the last rows, which may hold rows of another time.
    fn clear(&mut self) {
        match &mut self.quants {
            GroupQuants::Two(quants) => quants.fill(0),
            GroupQuants::Four { quants, totals } => {
                quants.fill(0);
                totals.fill(0);
            }
        }
        self.scales.fill(0.0);
        self.sums.fill(0.0);
    }
}

impl Activations {
    /// Makes room for `[m, k]`, for weights that lie so.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&mut self, m: usize, k: usize, run: Run) -> Result<()> {
        let size = m.next_multiple_of(ROWS) as u64 * k as u64;
        let blocks = size / BLOCK as u64;
        memory::reserve_all(&mut self.scales, blocks)?;
        memory::reserve_all(&mut self.sums, blocks)?;
        match run {
            Run::Two => memory::reserve_all(&mut self.pairs, size),
            Run::Four => {
                memory::reserve_all(&mut self.totals, blocks)?;
                memory::reserve_all(&mut self.fours, size)
            }
        }
    }

    /// Takes `values`, which is `[m, k]`, for weights that lie so.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32 or does not divide `values`.
    pub fn quantise(&mut self, values: &[f32], k: usize, run: Run) {
        self.quantise_with(values, k, run, quantise_rows);
    }

    pub(super) fn quantise_with(
        &mut self,
        values: &[f32],
        k: usize,
        run: Run,
        quantise_rows: fn(&[f32], usize, Group),
    ) {
        assert!(k.is_multiple_of(BLOCK) && values.len().is_multiple_of(k));
        (self.m, self.k, self.run) = (values.len() / k, k, run);
        let padded = self.m.next_multiple_of(ROWS);
        let blocks = k / BLOCK;
        self.scales.resize(padded * blocks, 0.0);
        self.sums.resize(padded * blocks, 0.0);
        let values = values.chunks(ROWS * k);
        let scales = self.scales.chunks_exact_mut(ROWS * blocks);
        let sums = self.sums.chunks_exact_mut(ROWS * blocks);
        let quantise = |values: &[f32], mut rows: Group| {
            if values.len() < ROWS * k {
                rows.clear();
            }
            quantise_rows(values, k, rows);
        };
        match run {
            Run::Two => {
                self.pairs.resize(padded * k, 0);
                let quants = self.pairs.chunks_exact_mut(ROWS * k).map(GroupQuants::Two);
                let rows = quants.zip(scales.zip(sums));
                POOL.each(values.zip(rows), |(values, (quants, (scales, sums)))| {
                    quantise(values, Group { quants, scales, sums });
                });
            }
            Run::Four => {
                self.fours.resize(padded * k, 0);
                self.totals.resize(padded * blocks, 0);
                let totals = self.totals.chunks_exact_mut(ROWS * blocks);
                let quants = self.fours.chunks_exact_mut(ROWS * k).zip(totals);
                let quants = quants.map(|(quants, totals)| GroupQuants::Four { quants, totals });
                let rows = quants.zip(scales.zip(sums));
                POOL.each(values.zip(rows), |(values, (quants, (scales, sums)))| {
                    quantise(values, Group { quants, scales, sums });
                });
            }
        }
    }

    /// Rows.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How its quants lie.
    pub fn run(&self) -> Run {
        self.run
    }

    /// What the packed form stands for at `[row, k]`.
    pub fn value(&self, row: usize, k: usize) -> f32 {
        let (group, run) = (row / ROWS, self.run.len());
        let at = (k / run * ROWS + row % ROWS) * run + k % run;
        let quant = match self.run {
            Run::Two => f32::from(self.pairs(group)[at]),
            Run::Four => f32::from(self.fours(group)[at]),
        };
        quant * self.group_scales(group)[k / BLOCK * ROWS + row % ROWS]
    }

    /// `[k / 2][4][2]`.
    pub(super) fn pairs(&self, group: usize) -> &[i16] {
        &self.pairs[group * ROWS * self.k..][..ROWS * self.k]
    }

    /// `[k / 4][4][4]`.
    pub(super) fn fours(&self, group: usize) -> &[i8] {
        &self.fours[group * ROWS * self.k..][..ROWS * self.k]
    }

    /// With fours, `[block][4]`.
    pub(super) fn group_totals(&self, group: usize) -> &[i32] {
        &self.totals[group * ROWS * self.blocks()..][..ROWS * self.blocks()]
    }

    /// `[block][4]`.
    pub(super) fn group_scales(&self, group: usize) -> &[f32] {
        &self.scales[group * ROWS * self.blocks()..][..ROWS * self.blocks()]
    }

    /// `[block][4]`.
    pub(super) fn group_sums(&self, group: usize) -> &[f32] {
        &self.sums[group * ROWS * self.blocks()..][..ROWS * self.blocks()]
    }

    fn blocks(&self) -> usize {
        self.k / BLOCK
    }
}

/// The scale of a block whose largest value is `maximum`, so that it becomes 127, and its inverse.
pub(super) fn scale_of(maximum: f32) -> (f32, f32) {
    if maximum < LEAST_BLOCK_MAXIMUM { (0.0, 0.0) } else { (maximum / 127.0, 127.0 / maximum) }
}
