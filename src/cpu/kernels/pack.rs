//! Weights in the layout that the product's kernels read.

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "used where there is no SIMD")
)]
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::{BLOCK, PANEL};
use crate::error::Result;
use crate::memory;
use crate::weights::blocks::quantised;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use scalar::interleave_rows;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd128::interleave_rows;

/// How many neighbouring inputs are stored together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// Pairs; those of activations are widened to i16.
    #[default]
    Two,
    /// Fours, as bytes in weights and activations alike.
    Four,
}

impl Run {
    /// That number.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// The layout a kernel expects of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// How many neighbouring inputs are stored together.
    pub run: Run,
    /// Bits per quant.
    pub bits: u32,
    /// Added to each quant `q`, so that none is negative: at most 128, and then the bytes are unsigned. A dot
    /// product with activations `a` is then `sum((q + lift) * a) = sum(q * a) + lift * sum(a)`; the kernel
    /// subtracts the last term.
    pub lift: i32,
}

impl Packing {
    /// Signed 8-bit quants, in pairs.
    pub const PLAIN: Self = Self { run: Run::Two, bits: 8, lift: 0 };

    /// The byte that stores a quant.
    pub(super) fn lifted(self, quant: i8) -> i8 {
        quant.wrapping_add(self.lift as i8)
    }

    /// The quant that a byte stores.
    fn lowered(self, byte: i8) -> i8 {
        byte.wrapping_sub(self.lift as i8)
    }
}

/// A linear weight `[n, k]`: int8 in blocks of 32 along `k`, each with a scale and, for the types that
/// have one, an offset: `value = quant * scale + offset`.
///
/// Packed in panels of 8 outputs. Within a panel, each output's neighbouring `k` are stored together, and
/// the 8 outputs follow one another: for pairs `o0k0 o0k1 o1k0 o1k1 …`. So each SIMD lane computes one
/// output.
#[derive(Debug, PartialEq)]
pub struct Int8Matrix {
    n: usize,
    k: usize,
    packing: Packing,
    quants: Vec<i8>,
    /// `[panel][block][8]`.
    scales: Vec<f32>,
    /// Indexed like `scales`; empty if every offset is zero.
    offsets: Vec<f32>,
}

impl Int8Matrix {
    /// A weight of all zeros.
    ///
    /// # Errors
    /// `low_memory`
    ///
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub fn zeros(n: usize, k: usize, packing: Packing) -> Result<Self> {
        assert!(k.is_multiple_of(BLOCK));
        let size = n.next_multiple_of(PANEL) as u64 * k as u64;
        let blocks = size / BLOCK as u64;
        let quants = memory::filled(size, 0)?;
        let scales = memory::filled(blocks, 0.0)?;
        Ok(Self { n, k, packing, quants, scales, offsets: Vec::new() })
    }

    /// Reserves memory for offsets, which are stored from the first non-zero one on.
    ///
    /// # Errors
    /// `low_memory`
    pub fn reserve_offsets(&mut self) -> Result<()> {
        memory::reserve(&mut self.offsets, self.scales.len() as u64)
    }

    /// Number of outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The layout of its quants.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Sets the 32 values of `row` that start at `32 * block`.
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
        let run = self.packing.run.len();
        for (i, quants) in quants.chunks_exact(run).enumerate() {
            let at = self.place(row, block * BLOCK + run * i);
            for (into, quant) in self.quants[at..at + run].iter_mut().zip(quants) {
                *into = self.packing.lifted(*quant);
            }
        }
    }

    /// Sets one block in each of a panel's eight rows: same result as eight calls of
    /// [`Int8Matrix::set_block`], but many times faster.
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
        interleave_rows(quants, self.packing, into);
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
        for (block, (scale, offset, quants)) in quantised(values).enumerate() {
            self.set_block(row, block, scale, offset, &quants);
        }
    }

    /// The dequantised value at `[row, k]`.
    pub fn value(&self, row: usize, k: usize) -> f32 {
        let quant = f32::from(self.packing.lowered(self.quants[self.place(row, k)]));
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
        let run = self.packing.run.len();
        row / PANEL * PANEL * self.k + (k / run * PANEL + row % PANEL) * run + k % run
    }
}
