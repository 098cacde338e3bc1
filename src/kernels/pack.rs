//! The packed forms that the kernels read.

use super::{BLOCK, PANEL, ROWS};

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
            let mut quants = [0; BLOCK];
            let scale = quantise_block(values, &mut quants);
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
/// product multiplies.
///
/// Packed four rows at a time, pairs of neighbouring `k` together: `r0k0 r0k1 r1k0 r1k1 …`.
#[derive(Debug)]
pub struct Activations {
    m: usize,
    k: usize,
    quants: Vec<i16>,
    /// `[row / 4][block][4]`.
    scales: Vec<f32>,
    /// The sum of a block's values, for weights with offsets; as `scales`.
    sums: Vec<f32>,
}

impl Activations {
    /// Quantises `values`, which is `[m, k]`.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32 or does not divide `values`.
    pub fn quantise(values: &[f32], k: usize) -> Self {
        assert!(k.is_multiple_of(BLOCK) && values.len().is_multiple_of(k));
        let m = values.len() / k;
        let padded = m.next_multiple_of(ROWS);
        let mut packed = Self {
            m,
            k,
            quants: vec![0; padded * k],
            scales: vec![0.0; padded * k / BLOCK],
            sums: vec![0.0; padded * k / BLOCK],
        };
        let mut quants = [0; BLOCK];
        for (row, values) in values.chunks_exact(k).enumerate() {
            for (block, values) in values.chunks_exact(BLOCK).enumerate() {
                let scale = quantise_block(values, &mut quants);
                let at = packed.at(row, block);
                packed.scales[at] = scale;
                packed.sums[at] = scale * quants.iter().map(|q| f32::from(*q)).sum::<f32>();
                for (i, pair) in quants.chunks_exact(2).enumerate() {
                    let at = packed.pair(row, block * BLOCK / 2 + i);
                    packed.quants[at] = i16::from(pair[0]);
                    packed.quants[at + 1] = i16::from(pair[1]);
                }
            }
        }
        packed
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
        f32::from(self.quants[self.pair(row, k / 2) + k % 2]) * self.scales[self.at(row, k / BLOCK)]
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

    fn at(&self, row: usize, block: usize) -> usize {
        (row / ROWS * (self.k / BLOCK) + block) * ROWS + row % ROWS
    }

    fn pair(&self, row: usize, pair: usize) -> usize {
        row / ROWS * ROWS * self.k + (pair * ROWS + row % ROWS) * 2
    }
}

/// Rounds a block to `-127..=127` and gives its scale.
fn quantise_block(values: &[f32], quants: &mut [i8; BLOCK]) -> f32 {
    let maximum = values.iter().fold(0.0f32, |maximum, value| maximum.max(value.abs()));
    if maximum < LEAST_BLOCK_MAXIMUM {
        quants.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / maximum;
    for (quant, value) in quants.iter_mut().zip(values) {
        *quant = (value * inverse).round_ties_even() as i8;
    }
    maximum / 127.0
}
