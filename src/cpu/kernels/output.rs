//! Where a product writes its sums, and what it does to each sum first.

use std::marker::PhantomData;

use super::PANEL;
use super::gelu::{gelu_each, gelu_tanh_each, quick_gelu_each};
use super::product::Tile;

/// What a product does with a finished sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Stores it unchanged.
    Store,
    /// `gelu(sum)`.
    Gelu,
    /// `gelu_tanh(sum)`.
    GeluTanh,
    /// `quick_gelu(sum)`.
    QuickGelu,
    /// Adds it to the value already there: a residual.
    Add,
}

/// Columns of a row-major matrix of f32.
pub struct Output<'a> {
    out: &'a mut [f32],
    stride: usize,
    column: usize,
}

impl<'a> Output<'a> {
    /// A whole matrix `[m, n]`.
    pub fn whole(out: &'a mut [f32], n: usize) -> Self {
        Self::columns(out, n, 0)
    }

    /// Of a matrix `[m, stride]`, the columns from `column` on.
    pub fn columns(out: &'a mut [f32], stride: usize, column: usize) -> Self {
        Self { out, stride, column }
    }

    /// Lets several threads write to it.
    ///
    /// # Panics
    /// If there are not exactly `m` rows with at least `n` columns from `column` on.
    pub(super) fn share(self, m: usize, n: usize) -> Columns<'a> {
        assert!(self.column + n <= self.stride && self.out.len() == m * self.stride);
        let Self { out, stride, column } = self;
        Columns { out: out.as_mut_ptr(), stride, column, m, n, lives: PhantomData }
    }
}

/// An [`Output`] that threads share; each writes its own part.
pub(super) struct Columns<'a> {
    out: *mut f32,
    stride: usize,
    column: usize,
    m: usize,
    n: usize,
    lives: PhantomData<&'a mut [f32]>,
}

const NO_BIAS: [f32; PANEL] = [0.0; PANEL];

// SAFETY: each element is written by one thread only: a product gives each thread columns of its own, and attention each
// thread some columns of some rows.
unsafe impl Sync for Columns<'_> {}

impl Columns<'_> {
    /// `width` columns of a row, from `column` on.
    ///
    /// # Safety
    /// No two threads may hold the same element at the same time.
    #[expect(clippy::mut_from_ref, reason = "threads share this, and each writes its own part")]
    #[inline]
    pub(super) unsafe fn piece(&self, row: usize, column: usize, width: usize) -> &mut [f32] {
        assert!(row < self.m && column + width <= self.n);
        // SAFETY: inside the matrix, as just checked; the caller guarantees that no other thread holds
        // these elements.
        unsafe {
            let start = self.out.add(row * self.stride + self.column + column);
            std::slice::from_raw_parts_mut(start, width)
        }
    }

    /// Finishes a tile of 4 x 8 sums and skips the padding. One thread computes a whole panel.
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
        let padded;
        let bias = match bias.get(column..) {
            None | Some([]) => &NO_BIAS,
            Some(bias) => match bias.first_chunk() {
                Some(bias) => bias,
                None => {
                    padded = eight(bias);
                    &padded
                }
            },
        };
        for (sums, row) in tile.iter().zip(row..self.m) {
            // SAFETY: these columns belong to one panel, and only this thread computes that panel.
            let out = unsafe { self.piece(row, column, width) };
            let sums = plus(sums, bias);
            let finished = match finish {
                Finish::Store => sums,
                Finish::Gelu => gelu_each(sums),
                Finish::GeluTanh => gelu_tanh_each(sums),
                Finish::QuickGelu => quick_gelu_each(sums),
                Finish::Add => plus(&sums, &eight(out)),
            };
            match out.first_chunk_mut() {
                Some(out) => *out = finished,
                None => out.copy_from_slice(&finished[..width]),
            }
        }
    }
}

/// What happens to the sums of a product's tiles.
pub(super) struct Finishing<'a> {
    /// Where they are written.
    pub columns: Columns<'a>,
    /// `[n]`, or empty for no bias.
    pub bias: &'a [f32],
    /// What is done with each sum before it is written.
    pub finish: Finish,
}

impl Finishing<'_> {
    /// Stores a tile whose first sum belongs to `row` and `column`.
    #[inline]
    pub(super) fn store(&self, tile: &Tile, row: usize, column: usize) {
        self.columns.store(tile, self.bias, self.finish, row, column);
    }
}

/// Up to eight values, padded with zeros: a fixed length lets the compiler vectorise the code that uses
/// them.
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
