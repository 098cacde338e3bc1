//! The packed forms that the kernels read.

use super::{BLOCK, PANEL, ROWS, twin};
use crate::threads::POOL;

/// A block whose largest value is below this is taken for zeros: its scale would be denormal, and a
/// product of denormals runs many times slower than any other.
const LEAST_BLOCK_MAXIMUM: f32 = 1e-30;

/// A linear weight `[n, k]`: int8 in blocks of 32 along `k`, each with a scale and, for the types that
/// have one, an offset: `value = quant * scale + offset`.
///
/// Packed in panels of 8 outputs. In a panel, pairs of neighbouring `k` of the 8 outputs follow one
/// another (`o0k0 o0k1 o1k0 o1k1 …`), so that one SIMD lane holds one output.
#[derive(Debug)]
pub struct Int8Matrix {
    n: usize,
    k: usize,
    quants: Vec<i8>,
    /// `[panel][block][8]`.
    scales: Vec<f32>,
    /// As `scales`, or empty where every offset is zero.
    offsets: Vec<f32>,
}

impl Int8Matrix {
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub fn zeros(n: usize, k: usize) -> Self {
        assert!(k.is_multiple_of(BLOCK));
        let padded = n.next_multiple_of(PANEL);
        let scales = vec![0.0; padded * k / BLOCK];
        Self { n, k, quants: vec![0; padded * k], scales, offsets: Vec::new() }
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Sets the 32 values of `row` that begin at `32 * block`.
    pub fn set_block(
        &mut self,
        row: usize,
        block: usize,
        scale: f32,
        offset: f32,
        quants: &[i8; BLOCK],
    ) {
        let at = (row / PANEL * self.blocks() + block) * PANEL + row % PANEL;
        self.scales[at] = scale;
        if offset != 0.0 && self.offsets.is_empty() {
            self.offsets = vec![0.0; self.scales.len()];
        }
        if let Some(slot) = self.offsets.get_mut(at) {
            *slot = offset;
        }
        for (i, pair) in quants.chunks_exact(2).enumerate() {
            let at = self.pair(row, block * BLOCK / 2 + i);
            self.quants[at..at + 2].copy_from_slice(pair);
        }
    }

    /// Sets a row from floats, rounding each block to 8 bits.
    pub fn quantise_row(&mut self, row: usize, values: &[f32]) {
        for (block, values) in values.chunks_exact(BLOCK).enumerate() {
            let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
            let (scale, inverse) = scale_of(maximum);
            let quants = std::array::from_fn(|i| (values[i] * inverse).round_ties_even() as i8);
            self.set_block(row, block, scale, 0.0, &quants);
        }
    }

    /// What the packed form stands for at `[row, k]`.
    pub fn value(&self, row: usize, k: usize) -> f32 {
        let quant = f32::from(self.quants[self.pair(row, k / 2) + k % 2]);
        let at = (row / PANEL * self.blocks() + k / BLOCK) * PANEL + row % PANEL;
        quant * self.scales[at] + self.offsets.get(at).copied().unwrap_or(0.0)
    }

    pub(super) fn blocks(&self) -> usize {
        self.k / BLOCK
    }

    /// `[k / 2][8][2]`.
    pub(super) fn panel(&self, panel: usize) -> &[i8] {
        &self.quants[panel * PANEL * self.k..][..PANEL * self.k]
    }

    /// `[block][8]`.
    pub(super) fn panel_scales(&self, panel: usize) -> &[f32] {
        &self.scales[panel * PANEL * self.blocks()..][..PANEL * self.blocks()]
    }

    /// `[block][8]`, or empty.
    pub(super) fn panel_offsets(&self, panel: usize) -> &[f32] {
        let from = panel * PANEL * self.blocks();
        self.offsets.get(from..from + PANEL * self.blocks()).unwrap_or(&[])
    }

    fn pair(&self, row: usize, pair: usize) -> usize {
        row / PANEL * PANEL * self.k + (pair * PANEL + row % PANEL) * 2
    }
}

/// Rows of activations `[m, k]`, quantised as the weights are and widened to i16, which is what the
/// product multiplies. Made to be used again: a buffer that is large enough is kept.
///
/// Packed four rows at a time, pairs of neighbouring `k` together: `r0k0 r0k1 r1k0 r1k1 …`.
#[derive(Debug, Default, PartialEq)]
pub struct Activations {
    m: usize,
    k: usize,
    quants: Vec<i16>,
    /// `[row / 4][block][4]`.
    scales: Vec<f32>,
    /// The sum of a block's values, for weights with offsets; as `scales`.
    sums: Vec<f32>,
}

/// The place of four rows in [`Activations`]: `[k / 2][4][2]`, and `[block][4]` twice.
pub struct Rows<'a> {
    pub quants: &'a mut [i16],
    pub scales: &'a mut [f32],
    pub sums: &'a mut [f32],
}

impl Activations {
    /// Takes `values`, which is `[m, k]`.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32 or does not divide `values`.
    pub fn quantise(&mut self, values: &[f32], k: usize) {
        self.quantise_with(values, k, twin::quantise_rows);
    }

    pub(super) fn quantise_with(
        &mut self,
        values: &[f32],
        k: usize,
        quantise_rows: fn(&[f32], usize, Rows),
    ) {
        assert!(k.is_multiple_of(BLOCK) && values.len().is_multiple_of(k));
        (self.m, self.k) = (values.len() / k, k);
        let padded = self.m.next_multiple_of(ROWS);
        self.quants.resize(padded * k, 0);
        self.scales.resize(padded * k / BLOCK, 0.0);
        self.sums.resize(padded * k / BLOCK, 0.0);
        let blocks = k / BLOCK;
        let quants = self.quants.chunks_exact_mut(ROWS * k);
        let scales = self.scales.chunks_exact_mut(ROWS * blocks);
        let sums = self.sums.chunks_exact_mut(ROWS * blocks);
        let groups = values.chunks(ROWS * k).zip(quants.zip(scales).zip(sums));
        POOL.each(groups, |(values, ((quants, scales), sums))| {
            if values.len() < ROWS * k {
                // The padding of the last rows, which may hold rows of another time.
                quants.fill(0);
                scales.fill(0.0);
                sums.fill(0.0);
            }
            quantise_rows(values, k, Rows { quants, scales, sums });
        });
    }

    /// Rows.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What the packed form stands for at `[row, k]`.
    pub fn value(&self, row: usize, k: usize) -> f32 {
        let group = row / ROWS;
        let quant = self.group(group)[(k / 2 * ROWS + row % ROWS) * 2 + k % 2];
        f32::from(quant) * self.group_scales(group)[k / BLOCK * ROWS + row % ROWS]
    }

    /// `[k / 2][4][2]`.
    pub(super) fn group(&self, group: usize) -> &[i16] {
        &self.quants[group * ROWS * self.k..][..ROWS * self.k]
    }

    /// `[block][4]`.
    pub(super) fn group_scales(&self, group: usize) -> &[f32] {
        let blocks = self.k / BLOCK;
        &self.scales[group * ROWS * blocks..][..ROWS * blocks]
    }

    /// `[block][4]`.
    pub(super) fn group_sums(&self, group: usize) -> &[f32] {
        let blocks = self.k / BLOCK;
        &self.sums[group * ROWS * blocks..][..ROWS * blocks]
    }
}

/// The scale of a block whose largest value is `maximum`, so that it becomes 127, and its inverse.
pub(super) fn scale_of(maximum: f32) -> (f32, f32) {
    if maximum < LEAST_BLOCK_MAXIMUM { (0.0, 0.0) } else { (maximum / 127.0, 127.0 / maximum) }
}
