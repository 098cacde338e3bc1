//! Activations in the layout that the product's kernels read, rounded to 8 bits.

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "used where there is no SIMD")
)]
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::pack::Run;
use super::{BLOCK, ROWS, with_widest_vectors};
use crate::error::Result;
use crate::memory;
use crate::threads::POOL;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use scalar::quantise_rows;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd128::quantise_rows;

/// Rows of activations `[m, k]`, quantised like the weights and in the layout of the weight they are
/// multiplied by. Meant to be reused: it keeps its buffers if they are large enough.
///
/// A quant is from -127 to 127, never -128: kernels that sum two products in 16 bits rely on it.
///
/// Packed four rows at a time, with neighbouring `k` together: for pairs `r0k0 r0k1 r1k0 r1k1 …`.
#[derive(Debug, Default, PartialEq)]
pub struct Activations {
    m: usize,
    k: usize,
    run: Run,
    /// The quants in pairs, widened to i16.
    pairs: Vec<i16>,
    /// The quants in fours.
    fours: Vec<i8>,
    /// For fours, the sum of each block's quants, which lifted weights need; indexed like `scales`.
    totals: Vec<i32>,
    /// `[row / 4][block][4]`.
    scales: Vec<f32>,
    /// The sum of each block's values, for weights with offsets; indexed like `scales`.
    sums: Vec<f32>,
}

/// The part of [`Activations`] that holds four rows: their quants, and `[block][4]` scales and sums.
pub(super) struct Group<'a> {
    /// The rows' quants.
    pub quants: GroupQuants<'a>,
    /// The scale of each block.
    pub scales: &'a mut [f32],
    /// The sum of each block's values.
    pub sums: &'a mut [f32],
}

/// `[k / run][4][run]`, and for fours also `[block][4]` totals.
pub(super) enum GroupQuants<'a> {
    /// [`Run::Two`].
    Two(&'a mut [i16]),
    /// [`Run::Four`].
    Four {
        /// The rows' quants.
        quants: &'a mut [i8],
        /// The sum of each block's quants.
        totals: &'a mut [i32],
    },
}

impl Group<'_> {
    /// Zeroes everything, because the padding rows may hold values of an earlier call.
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
    /// Reserves memory for `[m, k]`, in the layout `run`.
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

    /// Quantises `values`, which is `[m, k]`, into the layout `run`.
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
            with_widest_vectors(|| quantise_rows(values, k, rows));
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

    /// Number of rows.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Number of inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The layout of its quants.
    pub fn run(&self) -> Run {
        self.run
    }

    /// The dequantised value at `[row, k]`.
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

    /// For fours, `[block][4]`.
    #[cfg_attr(
        not(any(target_arch = "x86_64", feature = "relaxed-simd")),
        allow(dead_code, reason = "no kernel there lifts weights")
    )]
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
