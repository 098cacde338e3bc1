//! Where a product goes, and what becomes of its sums on the way.

use std::marker::PhantomData;

use super::PANEL;
use super::gelu::{gelu_each, quick_gelu};
use super::product::Tile;

/// What a product does with a finished sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing: it is stored.
    Store,
    /// `gelu(sum)`.
    Gelu,
    /// `quick_gelu(sum)`.
    QuickGelu,
    /// Adds to what is there: a residual.
    Add,
}

/// Columns of a row-major matrix of f32.
pub struct Output<'a> {
    out: &'a mut [f32],
    stride: usize,
    column: usize,
}

impl<'a> Output<'a> {
    /// `[m, n]`, all of it.
    pub fn whole(out: &'a mut [f32], n: usize) -> Self {
        Self::columns(out, n, 0)
    }

    /// `[m, stride]`, the columns from `column` on.
    pub fn columns(out: &'a mut [f32], stride: usize, column: usize) -> Self {
        Self { out, stride, column }
    }

    /// For several threads to write in.
    ///
    /// # Panics
    /// If there are not `m` rows with `n` columns from `column` on.
    pub(super) fn share(self, m: usize, n: usize) -> Columns<'a> {
        assert!(self.column + n <= self.stride && self.out.len() == m * self.stride);
        let Self { out, stride, column } = self;
        Columns { out: out.as_mut_ptr(), stride, column, m, n, lives: PhantomData }
    }
}

/// An [`Output`] that threads share, each writing columns of its own.
pub(super) struct Columns<'a> {
    out: *mut f32,
    stride: usize,
    column: usize,
    m: usize,
    n: usize,
    lives: PhantomData<&'a mut [f32]>,
}

// SAFETY: every element is written by one thread only: the one whose columns it lies in.
unsafe impl Sync for Columns<'_> {}

impl Columns<'_> {
    /// Columns from `column` on of a row.
    ///
    /// # Safety
    /// No two threads may hold the same element at the same time.
    #[expect(clippy::mut_from_ref, reason = "threads share this, each for elements of its own")]
    #[inline]
    pub(super) unsafe fn piece(&self, row: usize, column: usize, width: usize) -> &mut [f32] {
        assert!(row < self.m && column + width <= self.n);
        // SAFETY: inside the matrix, as just checked, and by the caller's word nobody else's.
        unsafe {
            let start = self.out.add(row * self.stride + self.column + column);
            std::slice::from_raw_parts_mut(start, width)
        }
    }

    /// Finishes a tile of 4 x 8 sums, leaving out what is padding. A panel is worked on by
    /// one thread.
    #[inline]
    pub(super) fn store(
        &self,
        tile: &Tile,
        bias: &[f32],
        finish: Finish,
        row: usize,
        column: usize,
    ) {
        let width = PANEL.min(self.n - column);
        let bias = match bias.get(column..column + width) {
            Some(bias) => eight(bias),
            None => [0.0; PANEL],
        };
        for (sums, row) in tile.iter().zip(row..self.m) {
            // SAFETY: these columns are of a panel, and the panel this thread's.
            let out = unsafe { self.piece(row, column, width) };
            let sums = plus(sums, &bias);
            let finished = match finish {
                Finish::Store => sums,
                Finish::Gelu => gelu_each(sums),
                Finish::QuickGelu => sums.map(quick_gelu),
                Finish::Add => plus(&sums, &eight(out)),
            };
            match out.first_chunk_mut() {
                Some(out) => *out = finished,
                None => out.copy_from_slice(&finished[..width]),
            }
        }
    }
}

/// What becomes of a product's tiles.
pub(super) struct Finishing<'a> {
    /// Where they go.
    pub columns: Columns<'a>,
    /// `[n]`, or empty.
    pub bias: &'a [f32],
    /// What is done with each sum.
    pub finish: Finish,
}

impl Finishing<'_> {
    /// Stores a tile whose first sum is of that row and column.
    #[inline]
    pub(super) fn store(&self, tile: &Tile, row: usize, column: usize) {
        self.columns.store(tile, self.bias, self.finish, row, column);
    }
}

/// Up to eight values, and zeros after them: a fixed number makes SIMD of what is done with them.
#[inline]
fn eight(values: &[f32]) -> [f32; PANEL] {
    match values.first_chunk() {
        Some(values) => *values,
        None => std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0)),
    }
}

#[inline]
fn plus(a: &[f32; PANEL], b: &[f32; PANEL]) -> [f32; PANEL] {
    std::array::from_fn(|i| a[i] + b[i])
}
