//! The packed forms that the kernels read.

use super::{BLOCK, PANEL, ROWS, twin};
use crate::cpu::threads::POOL;
use crate::error::Result;
use crate::memory;

/// A block whose largest value is below this is taken for zeros: its scale would be denormal, and a
/// product of denormals runs many times slower than any other.
const LEAST_BLOCK_MAXIMUM: f32 = 1e-30;

/// How quants lie, and with that what multiplies them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Pairs of neighbouring `k`, 8 bits on both sides; activations are widened to i16.
    #[default]
    Pairs,
    /// Fours of neighbouring `k`, bytes on both sides, for weights of at most 5 bits.
    Fours,
}

impl Layout {
    /// Neighbours along `k` that lie together.
    pub(super) fn run(self) -> usize {
        match self {
            Self::Pairs => 2,
            Self::Fours => 4,
        }
    }
}

/// A linear weight `[n, k]`: int8 in blocks of 32 along `k`, each with a scale and, for the types that
/// have one, an offset: `value = quant * scale + offset`.
///
/// Packed in panels of 8 outputs. In a panel, neighbouring `k` of the 8 outputs follow one another, as for
/// pairs `o0k0 o0k1 o1k0 o1k1 …`, so that one SIMD lane holds one output.
#[derive(Debug, PartialEq)]
pub struct Int8Matrix {
    n: usize,
    k: usize,
    layout: Layout,
    /// Bits of a quant.
    bits: u32,
    /// What has been added to each quant, with fours, so that none is below zero.
    lift: i8,
    quants: Vec<i8>,
    /// `[panel][block][8]`.
    scales: Vec<f32>,
    /// As `scales`, or empty where every offset is zero.
    offsets: Vec<f32>,
}

impl Int8Matrix {
    /// For quants of 8 bits.
    ///
    /// # Errors
    /// `low_memory`
    ///
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub fn zeros(n: usize, k: usize) -> Result<Self> {
        assert!(k.is_multiple_of(BLOCK));
        let size = n.next_multiple_of(PANEL) as u64 * k as u64;
        let blocks = size / BLOCK as u64;
        let (layout, quants) = (Layout::Pairs, memory::filled(size, 0)?);
        let scales = memory::filled(blocks, 0.0)?;
        Ok(Self { n, k, layout, bits: 8, lift: 0, quants, scales, offsets: Vec::new() })
    }

    /// For quants of 4 or 5 bits, which become so by adding `lift`.
    ///
    /// # Errors
    /// `low_memory`
    ///
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub fn in_fours(n: usize, k: usize, bits: u32, lift: i8) -> Result<Self> {
        assert!(bits == 4 || bits == 5);
        Ok(Self { layout: Layout::Fours, bits, lift, ..Self::zeros(n, k)? })
    }

    /// Makes room for offsets, which are kept from the first one on that is not zero.
    ///
    /// # Errors
    /// `low_memory`
    pub fn reserve_offsets(&mut self) -> Result<()> {
        memory::reserve(&mut self.offsets, self.scales.len() as u64)
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How its quants lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Bits of a quant.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// What a dot product has too much for each quant of the other side.
    pub fn lift(&self) -> i8 {
        self.lift
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
        self.set_factors(at, &[scale], &[offset]);
        match self.layout {
            Layout::Pairs => {
                for (i, pair) in quants.as_chunks::<2>().0.iter().enumerate() {
                    let at = self.place(row, block * BLOCK + 2 * i);
                    self.quants[at..at + 2].copy_from_slice(pair);
                }
            }
            Layout::Fours => {
                for (i, four) in quants.as_chunks::<4>().0.iter().enumerate() {
                    let at = self.place(row, block * BLOCK + 4 * i);
                    self.quants[at..at + 4].copy_from_slice(&four.map(|quant| quant + self.lift));
                }
            }
        }
    }

    /// Sets those 32 values in each of a panel's eight rows: the same as [`Int8Matrix::set_block`] for one after the
    /// other, and many times quicker.
    pub fn set_blocks(
        &mut self,
        panel: usize,
        block: usize,
        scales: &[f32; PANEL],
        offsets: &[f32; PANEL],
        quants: &[[i8; BLOCK]; PANEL],
    ) {
        let at = panel * self.blocks() + block;
        self.set_factors(at * PANEL, scales, offsets);
        let into = &mut self.quants[at * PANEL * BLOCK..][..PANEL * BLOCK];
        twin::interleave_rows(quants, self.layout, self.lift, into);
    }

    fn set_factors(&mut self, at: usize, scales: &[f32], offsets: &[f32]) {
        self.scales[at..at + scales.len()].copy_from_slice(scales);
        if self.offsets.is_empty() && offsets.iter().any(|offset| *offset != 0.0) {
            self.offsets.resize(self.scales.len(), 0.0);
        }
        if let Some(slots) = self.offsets.get_mut(at..at + offsets.len()) {
            slots.copy_from_slice(offsets);
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
        let quant = f32::from(self.quants[self.place(row, k)] - self.lift);
        let at = (row / PANEL * self.blocks() + k / BLOCK) * PANEL + row % PANEL;
        quant * self.scales[at] + self.offsets.get(at).copied().unwrap_or(0.0)
    }

    pub(super) fn blocks(&self) -> usize {
        self.k / BLOCK
    }

    /// `[k / run][8][run]`.
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

    fn place(&self, row: usize, k: usize) -> usize {
        let run = self.layout.run();
        row / PANEL * PANEL * self.k + (k / run * PANEL + row % PANEL) * run + k % run
    }
}

/// Rows of activations `[m, k]`, quantised as the weights are, in the layout of the weight that they meet. Made to
/// be used again: a buffer that is large enough is kept.
///
/// Packed four rows at a time, neighbouring `k` together, as for pairs `r0k0 r0k1 r1k0 r1k1 …`.
#[derive(Debug, Default, PartialEq)]
pub struct Activations {
    m: usize,
    k: usize,
    layout: Layout,
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
pub struct Rows<'a> {
    /// Their values as integers.
    pub quants: RowQuants<'a>,
    /// What a block's quants are multiplied by.
    pub scales: &'a mut [f32],
    /// The sum of a block's values.
    pub sums: &'a mut [f32],
}

/// `[k / run][4][run]`, and for fours `[block][4]` totals.
pub enum RowQuants<'a> {
    /// [`Layout::Pairs`].
    Pairs(&'a mut [i16]),
    /// [`Layout::Fours`].
    Fours {
        /// Their values as integers.
        quants: &'a mut [i8],
        /// The sum of each block's.
        totals: &'a mut [i32],
    },
}

impl Rows<'_> {
    /// What pads the last rows, which may hold rows of another time.
    fn clear(&mut self) {
        match &mut self.quants {
            RowQuants::Pairs(quants) => quants.fill(0),
            RowQuants::Fours { quants, totals } => {
                quants.fill(0);
                totals.fill(0);
            }
        }
        self.scales.fill(0.0);
        self.sums.fill(0.0);
    }
}

impl Activations {
    /// Makes room for `[m, k]`, for weights of the layout.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&mut self, m: usize, k: usize, layout: Layout) -> Result<()> {
        let size = m.next_multiple_of(ROWS) as u64 * k as u64;
        let blocks = size / BLOCK as u64;
        memory::reserve_all(&mut self.scales, blocks)?;
        memory::reserve_all(&mut self.sums, blocks)?;
        match layout {
            Layout::Pairs => memory::reserve_all(&mut self.pairs, size),
            Layout::Fours => {
                memory::reserve_all(&mut self.totals, blocks)?;
                memory::reserve_all(&mut self.fours, size)
            }
        }
    }

    /// Takes `values`, which is `[m, k]`, for weights of the layout.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32 or does not divide `values`.
    pub fn quantise(&mut self, values: &[f32], k: usize, layout: Layout) {
        self.quantise_with(values, k, layout, twin::quantise_rows);
    }

    pub(super) fn quantise_with(
        &mut self,
        values: &[f32],
        k: usize,
        layout: Layout,
        quantise_rows: fn(&[f32], usize, Rows),
    ) {
        assert!(k.is_multiple_of(BLOCK) && values.len().is_multiple_of(k));
        (self.m, self.k, self.layout) = (values.len() / k, k, layout);
        let padded = self.m.next_multiple_of(ROWS);
        let blocks = k / BLOCK;
        self.scales.resize(padded * blocks, 0.0);
        self.sums.resize(padded * blocks, 0.0);
        let values = values.chunks(ROWS * k);
        let scales = self.scales.chunks_exact_mut(ROWS * blocks);
        let sums = self.sums.chunks_exact_mut(ROWS * blocks);
        let quantise = |values: &[f32], mut rows: Rows| {
            if values.len() < ROWS * k {
                rows.clear();
            }
            quantise_rows(values, k, rows);
        };
        match layout {
            Layout::Pairs => {
                self.pairs.resize(padded * k, 0);
                let quants = self.pairs.chunks_exact_mut(ROWS * k).map(RowQuants::Pairs);
                let rows = quants.zip(scales.zip(sums));
                POOL.each(values.zip(rows), |(values, (quants, (scales, sums)))| {
                    quantise(values, Rows { quants, scales, sums });
                });
            }
            Layout::Fours => {
                self.fours.resize(padded * k, 0);
                self.totals.resize(padded * blocks, 0);
                let totals = self.totals.chunks_exact_mut(ROWS * blocks);
                let quants = self.fours.chunks_exact_mut(ROWS * k).zip(totals);
                let quants = quants.map(|(quants, totals)| RowQuants::Fours { quants, totals });
                let rows = quants.zip(scales.zip(sums));
                POOL.each(values.zip(rows), |(values, (quants, (scales, sums)))| {
                    quantise(values, Rows { quants, scales, sums });
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
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the packed form stands for at `[row, k]`.
    pub fn value(&self, row: usize, k: usize) -> f32 {
        let (group, run) = (row / ROWS, self.layout.run());
        let at = (k / run * ROWS + row % ROWS) * run + k % run;
        let quant = match self.layout {
            Layout::Pairs => f32::from(self.pairs(group)[at]),
            Layout::Fours => f32::from(self.fours(group)[at]),
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
