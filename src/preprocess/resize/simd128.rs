//! The horizontal pass in WebAssembly SIMD: eight weights of one channel at a time.
//!
//! A weight with 22 fraction bits does not fit in i16, but its halves do, and the products of each half are
//! summed separately. Together they are exact in i32's wrapping arithmetic, because the total always fits
//! in i32.

use std::arch::wasm32::{
    i8x16_shuffle, i16x8, i16x8_load_extend_u8x8, i16x8_narrow_i32x4, i32x4_add, i32x4_dot_i16x8,
    i32x4_shl, i32x4_shr, i32x4_shuffle, i32x4_splat, u8x16_narrow_i16x8, u32x4_extract_lane, v128,
    v128_load, v128_store,
};
use std::cell::RefCell;
use std::ops::Range;

use super::{Axis, CHANNELS, HALF, PRECISION_BITS};

/// Weights processed at once.
const GROUP: usize = 8;
/// Pixels split into channels at once.
const RUN: usize = 16;

thread_local! {
    /// The channels of a row, one after another.
    static PLANES: RefCell<Vec<u8>> = RefCell::default();
}

/// The horizontal pass.
pub(super) struct Columns {
    /// The pixels of a row that some output reads.
    used: Range<usize>,
    /// For each output: its first pixel in `used`, and the number of groups of weights that follow.
    spans: Vec<(usize, usize)>,
    /// The upper and the lower halves of each group's weights; zeros after the last weight.
    groups: Vec<[v128; 2]>,
}

impl Columns {
    pub fn new(axis: &Axis) -> Self {
        let used = axis.source_range();
        let mut groups = Vec::new();
        let spans = axis.spans.iter().map(|&span| {
            let before = groups.len();
            groups.extend(axis.taps(span).chunks(GROUP).map(halves));
            (span.source - used.start, groups.len() - before)
        });
        Self { spans: spans.collect(), used, groups }
    }

    /// `row` `[source width, 3]` to `out` `[axis.len(), 3]`.
    pub fn weigh(&self, row: &[u8], out: &mut [u8]) {
        PLANES.with_borrow_mut(|planes| {
            // The last group of weights may extend beyond the last pixel, with zero weights there.
            let stride = (self.used.len() / RUN + 1) * RUN + GROUP;
            planes.resize(CHANNELS * stride, 0);
            let (red, rest) = planes.split_at_mut(stride);
            let (green, blue) = rest.split_at_mut(stride);
            split(&row[self.used.start * CHANNELS..self.used.end * CHANNELS], [red, green, blue]);
            let mut groups = &self.groups[..];
            for (out, &(at, len)) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&self.spans) {
                let weights;
                (weights, groups) = groups.split_at(len);
                let values = [&*red, &*green, &*blue].map(|plane| plane[at..].as_chunks().0);
                *out = weigh(weights, values);
            }
        });
    }
}

/// `weight = (high << 16) + low` for every possible weight, in wrapping arithmetic.
fn halves(weights: &[i32]) -> [v128; 2] {
    let mut halves = [[0; GROUP]; 2];
    for (i, &weight) in weights.iter().enumerate() {
        let low = weight as i16;
        halves[0][i] = (weight.wrapping_sub(i32::from(low)) >> 16) as i16;
        halves[1][i] = low;
    }
    halves.map(|[a, b, c, d, e, f, g, h]| i16x8(a, b, c, d, e, f, g, h))
}

/// Computes one output pixel.
#[inline]
fn weigh(weights: &[[v128; 2]], values: [&[[u8; GROUP]]; CHANNELS]) -> [u8; CHANNELS] {
    let [red, green, blue] = values;
    let mut sums = [[i32x4_splat(0); 2]; CHANNELS];
    for (((halves, red), green), blue) in weights.iter().zip(red).zip(green).zip(blue) {
        for (sums, values) in sums.iter_mut().zip([red, green, blue]) {
            // SAFETY: reads exactly the eight bytes of the array.
            let values = unsafe { i16x8_load_extend_u8x8(values.as_ptr()) };
            for (sum, half) in sums.iter_mut().zip(halves) {
                *sum = i32x4_add(*sum, i32x4_dot_i16x8(values, *half));
            }
        }
    }
    let [red, green, blue] = sums.map(|[high, low]| i32x4_add(i32x4_shl(high, 16), low));
    let two =
        |a, b| i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (red_green, blue) = (two(red, green), two(blue, blue));
    let sums = i32x4_add(
        i32x4_shuffle::<0, 1, 4, 5>(red_green, blue),
        i32x4_shuffle::<2, 3, 6, 7>(red_green, blue),
    );
    let levels = i32x4_shr(i32x4_add(sums, i32x4_splat(HALF)), PRECISION_BITS);
    let levels = i16x8_narrow_i32x4(levels, levels);
    let pixel = u32x4_extract_lane::<0>(u8x16_narrow_i16x8(levels, levels));
    let [red, green, blue, _] = pixel.to_le_bytes();
    [red, green, blue]
}

/// Splits `pixels` into channels, padded with zeros to a multiple of a run.
fn split(pixels: &[u8], planes: [&mut [u8]; CHANNELS]) {
    let [red, green, blue] = planes.map(|plane| plane.as_chunks_mut::<RUN>().0);
    let (runs, rest) = pixels.as_chunks::<{ CHANNELS * RUN }>();
    let mut last = [0; CHANNELS * RUN];
    last[..rest.len()].copy_from_slice(rest);
    let runs = runs.iter().chain([&last]);
    for (((run, red), green), blue) in runs.zip(red).zip(green).zip(blue) {
        let run = run.as_chunks::<RUN>().0;
        // SAFETY: each access reads or writes exactly sixteen bytes of a run.
        unsafe {
            let [a, b, c] = [0, 1, 2].map(|i| v128_load(run[i].as_ptr().cast()));
            // A channel's bytes in the first two vectors, then those in the third too.
            let red_of_two =
                i8x16_shuffle::<0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0>(a, b);
            let reds = i8x16_shuffle::<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29>(
                red_of_two, c,
            );
            v128_store(red.as_mut_ptr().cast(), reds);
            let green_of_two =
                i8x16_shuffle::<1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0>(a, b);
            let greens = i8x16_shuffle::<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30>(
                green_of_two,
                c,
            );
            v128_store(green.as_mut_ptr().cast(), greens);
            let blue_of_two =
                i8x16_shuffle::<2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0>(a, b);
            let blues = i8x16_shuffle::<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31>(
                blue_of_two,
                c,
            );
            v128_store(blue.as_mut_ptr().cast(), blues);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::super::super::Filter;
    use super::super::scalar;
    use super::*;

    #[wasm_bindgen_test]
    fn halves_are_exact() {
        let near = |weight: i32| [weight.wrapping_sub(1), weight, weight.wrapping_add(1)];
        let weights = [0, 1 << 15, -(1 << 15), 1 << 16, 1 << 22, i32::MIN].map(near);
        for &weight in weights.as_flattened() {
            // With 1 in the first lane only, the first sum is the first weight alone.
            let one = i16x8(1, 0, 0, 0, 0, 0, 0, 0);
            let [high, low] = halves(&[weight]).map(|half| i32x4_dot_i16x8(one, half));
            let sum = u32x4_extract_lane::<0>(i32x4_add(i32x4_shl(high, 16), low));
            assert_eq!(sum as i32, weight);
        }
    }

    #[wasm_bindgen_test]
    fn the_twins_give_the_same_pixels() {
        let mut state = 1u32;
        let mut level = |extreme: bool| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if extreme { ((state >> 31) * 255) as u8 } else { (state >> 24) as u8 }
        };
        for (from, to, first, len) in [
            (1, 8, 0, 8),
            (2, 9, 3, 4),
            (7, 3, 0, 3),
            (15, 16, 0, 16),
            (17, 4, 1, 2),
            (33, 32, 31, 1),
            (640, 299, 37, 224),
            (999, 224, 0, 224),
            (4000, 299, 37, 224),
            (60_000, 2, 1, 1),
        ] {
            for (filter, extreme) in
                Filter::ALL.map(|filter| [(filter, false), (filter, true)]).concat()
            {
                let axis = Axis::new(filter, from, to, first, len);
                let row: Vec<u8> = (0..from * CHANNELS).map(|_| level(extreme)).collect();
                let [mut ours, mut taught] = [(); 2].map(|()| vec![0; len * CHANNELS]);
                Columns::new(&axis).weigh(&row, &mut ours);
                scalar::Columns::new(&axis).weigh(&row, &mut taught);
                assert_eq!(ours, taught, "{filter:?}: {from} to {to}, {len} from {first}");
            }
        }
    }
}
