//! Pillow's resize of 8-bit pixels, bit for bit, computing only a window of the result.
//!
//! Everything here follows `src/libImaging/Resample.c` of Pillow 13.0: the antialiasing filters,
//! fixed-point weights, one pass per axis with 8-bit pixels between the passes, and the order of the
//! passes.

#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code, reason = "SIMD reads and writes by pointers")]
mod simd128;

use super::filter::Filter;
use crate::decode::RgbImage;
use crate::threads::POOL;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use scalar as twin;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd128 as twin;

const CHANNELS: usize = 3;

/// The fraction bits of a weight: 32 minus 8 for the pixel and 2 for the overshoot of negative lobes
/// (`PRECISION_BITS`).
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The start value of an accumulator, so that the shift at the end rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// A part of the resized image: its size, and the position of its first pixel in the whole image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub left: u64,
    pub top: u64,
    pub width: usize,
    pub height: usize,
}

/// The pixels of `window` of the image as resized to `width` x `height`: RGB8, interleaved,
/// row-major, `window.width * window.height * 3` bytes.
///
/// They equal a crop of the whole resized image. Time and memory depend only on the window: a 1 x 60,000
/// image whose resized form would have billions of pixels costs no more than any other.
pub(crate) fn resize(
    image: &RgbImage,
    (width, height): (u64, u64),
    window: Window,
    filter: Filter,
) -> Vec<u8> {
    let (source_width, source_height) = (image.width() as usize, image.height() as usize);
    let columns = Axis::new(filter, source_width, width, window.left, window.width);
    let rows = Axis::new(filter, source_height, height, window.top, window.height);
    let source = Pixels { width: source_width, height: source_height, bytes: image.pixels() };

    // Pillow 13 starts with the axis that it shrinks more, by this inequality.
    let shrink_x = source_width as i128 - i128::from(width);
    let shrink_y = source_height as i128 - i128::from(height);
    if shrink_y > 0 && shrink_y > 2 * shrink_x {
        let narrow = columns.source_range();
        let between = resize_rows(&source, narrow.clone(), &rows);
        let between = Pixels { width: narrow.len(), height: window.height, bytes: &between };
        resize_columns(&between, 0..window.height, &columns.moved_back(narrow.start))
    } else {
        let used = rows.source_range();
        let between = resize_columns(&source, used.clone(), &columns);
        let between = Pixels { width: window.width, height: used.len(), bytes: &between };
        resize_rows(&between, 0..window.width, &rows.moved_back(used.start))
    }
}

/// The most bytes between the two passes of [`resize`]. On each axis, only the window and the filter's
/// reach beyond it are read.
pub(crate) fn most_between(
    image: &RgbImage,
    (width, height): (u64, u64),
    window: Window,
    filter: Filter,
) -> u64 {
    let read = |from: u32, to: u64, len: usize| {
        let scale = f64::from(from) / to as f64;
        let reach = 2.0 * filter.support() * scale.max(1.0);
        u64::from(from).min((len as f64 * scale + reach) as u64 + 2)
    };
    let by_rows = read(image.width(), width, window.width) * window.height as u64;
    let by_columns = read(image.height(), height, window.height) * window.width as u64;
    CHANNELS as u64 * by_rows.max(by_columns)
}

struct Pixels<'a> {
    width: usize,
    height: usize,
    bytes: &'a [u8],
}

impl Pixels<'_> {
    fn row(&self, y: usize) -> &[u8] {
        debug_assert!(y < self.height);
        &self.bytes[y * self.width * CHANNELS..][..self.width * CHANNELS]
    }
}

/// How one axis of the window is computed from the source.
struct Axis {
    /// For each output position, its first source position and how many weights follow.
    spans: Vec<Span>,
    /// The weights of all output positions, one after another, with [`PRECISION_BITS`] fraction bits. Empty
    /// if the size does not change: Pillow then skips the pass.
    weights: Vec<i32>,
}

#[derive(Clone, Copy)]
struct Span {
    source: usize,
    weights: usize,
    len: usize,
}

impl Axis {
    /// The axis that resizes `from` pixels to `to`, for the `len` positions that start at `first`.
    fn new(filter: Filter, from: usize, to: u64, first: u64, len: usize) -> Self {
        if from as u64 == to {
            let spans = (0..len).map(|i| Span { source: first as usize + i, weights: 0, len: 1 });
            return Self { spans: spans.collect(), weights: Vec::new() };
        }
        // Pillow passes the box as C floats.
        let scale = f64::from(from as f32) / to as f64;
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let shrink = 1.0 / filter_scale;

        let mut spans = Vec::with_capacity(len);
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for position in first..first + len as u64 {
            let centre = (position as f64 + 0.5) * scale;
            // The casts truncate and saturate at zero, like the clamps after them in C. Only because f32
            // rounds sizes above 2^24 can the first pixel be beyond the last one.
            let start = ((centre - support + 0.5) as usize).min(from - 1);
            let end = ((centre + support + 0.5) as usize).clamp(start + 1, from);
            exact.clear();
            exact.extend((start..end).map(|x| filter.weight((x as f64 - centre + 0.5) * shrink)));
            let sum: f64 = exact.iter().sum();
            let norm = if sum == 0.0 { 1.0 } else { sum };
            spans.push(Span { source: start, weights: weights.len(), len: end - start });
            weights.extend(exact.iter().map(|weight| to_fixed(weight / norm)));
        }
        Self { spans, weights }
    }

    /// The range of source positions that all outputs together read.
    fn source_range(&self) -> std::ops::Range<usize> {
        let start = self.spans.iter().map(|span| span.source).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.source + span.len).max().unwrap_or(0);
        start..end
    }

    /// The same axis for a source without its first `by` positions.
    fn moved_back(mut self, by: usize) -> Self {
        self.spans.iter_mut().for_each(|span| span.source -= by);
        self
    }

    fn is_identity(&self) -> bool {
        self.weights.is_empty()
    }

    fn taps(&self, span: Span) -> &[i32] {
        &self.weights[span.weights..][..span.len]
    }
}

/// Rounds half away from zero, like `normalize_coeffs_8bpc`.
fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

fn to_pixel(accumulator: i32) -> u8 {
    (accumulator >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The horizontal pass over the rows `used`: `[used.len(), axis.len(), 3]`.
fn resize_columns(source: &Pixels, used: std::ops::Range<usize>, axis: &Axis) -> Vec<u8> {
    let width = axis.spans.len() * CHANNELS;
    let mut out = vec![0; used.len() * width];
    let out_rows = out.chunks_exact_mut(width.max(1)).zip(used);
    let first = axis.source_range().start * CHANNELS;
    let columns = (!axis.is_identity()).then(|| twin::Columns::new(axis));
    POOL.each(out_rows, |(out_row, y)| match &columns {
        Some(columns) => columns.weigh(source.row(y), out_row),
        None => out_row.copy_from_slice(&source.row(y)[first..][..width]),
    });
    out
}

/// The vertical pass over the columns `used`: `[axis.len(), used.len(), 3]`.
fn resize_rows(source: &Pixels, used: std::ops::Range<usize>, axis: &Axis) -> Vec<u8> {
    let bytes = used.start * CHANNELS..used.end * CHANNELS;
    let mut out = vec![0; axis.spans.len() * bytes.len()];
    let out_rows = out.chunks_exact_mut(bytes.len().max(1));
    POOL.each(out_rows.zip(&axis.spans), |(out_row, &span)| {
        if axis.is_identity() {
            out_row.copy_from_slice(&source.row(span.source)[bytes.clone()]);
            return;
        }
        // Row by row, so that each source row is read once, in order.
        let mut sums = vec![HALF; bytes.len()];
        for (y, &tap) in (span.source..).zip(axis.taps(span)) {
            for (sum, &value) in sums.iter_mut().zip(&source.row(y)[bytes.clone()]) {
                *sum += i32::from(value) * tap;
            }
        }
        for (pixel, sum) in out_row.iter_mut().zip(sums) {
            *pixel = to_pixel(sum);
        }
    });
    out
}
