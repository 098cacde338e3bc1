//! The kernels in wasm's 128-bit SIMD.

use std::arch::wasm32::{
    f32x4, f32x4_abs, f32x4_add, f32x4_convert_i32x4, f32x4_div, f32x4_extract_lane, f32x4_max,
    f32x4_mul, f32x4_pmax, f32x4_pmin, f32x4_splat, i8x16_add, i8x16_narrow_i16x8, i8x16_splat,
    i16x8_load_extend_i8x8, i16x8_narrow_i32x4, i16x8_shuffle, i16x8_splat, i32x4_add,
    i32x4_dot_i16x8, i32x4_extract_lane, i32x4_shuffle, i32x4_splat, i32x4_sub, v128, v128_load,
    v128_load32_splat, v128_store,
};
use std::cell::RefCell;
use std::ops::Range;

use super::float::{ERF_ABOVE, ERF_BELOW};
use super::pack::{RowQuants, Rows, scale_of};
use super::{Activations, BLOCK, Int8Matrix, Layout, PANEL, ROWS};

/// One step of a panel: eight outputs by a pair of inputs.
const STEP: usize = PANEL * 2;

thread_local! {
    /// A panel widened to i16.
    static WIDENED: RefCell<Vec<i16>> = const { RefCell::new(Vec::new()) };
}

/// The tiles of `panels`, each given to `store` with its first row and column.
///
/// The first rows of a panel widen it to i16 on their way, for all the rows after them: to widen it for
/// each costs a third of the speed.
pub fn int8_panels(
    weight: &Int8Matrix,
    activations: &Activations,
    panels: Range<usize>,
    store: &impl Fn(&[[f32; PANEL]; ROWS], usize, usize),
) {
    let m = activations.m();
    WIDENED.with_borrow_mut(|widened| {
        widened.resize(PANEL * weight.k(), 0);
        for panel in panels {
            let quants = weight.panel(panel);
            for group in 0..m.div_ceil(ROWS) {
                let factors = Factors::new(weight, activations, panel, group);
                let inputs = activations.pairs(group);
                let tile = match (group, m - group * ROWS) {
                    (0, 1) => widen_and_multiply::<1>(&factors, inputs, quants, widened),
                    (0, 2) => widen_and_multiply::<2>(&factors, inputs, quants, widened),
                    (0, 3) => widen_and_multiply::<3>(&factors, inputs, quants, widened),
                    (0, _) => widen_and_multiply::<4>(&factors, inputs, quants, widened),
                    (_, 1) => multiply::<1>(&factors, inputs, widened),
                    (_, 2) => multiply::<2>(&factors, inputs, widened),
                    (_, 3) => multiply::<3>(&factors, inputs, widened),
                    (_, _) => multiply::<4>(&factors, inputs, widened),
                };
                store(&tile, group * ROWS, panel * PANEL);
            }
        }
    });
}

/// `R` rows by a panel that is widened already.
fn multiply<const R: usize>(
    factors: &Factors,
    inputs: &[i16],
    widened: &[i16],
) -> [[f32; PANEL]; ROWS] {
    let blocks = widened.chunks_exact(PANEL * BLOCK).zip(inputs.chunks_exact(ROWS * BLOCK));
    factors.sum(blocks, |(quants, inputs)| -> Dots<R> {
        // SAFETY: two vectors are read at each step of the block.
        block(quants, inputs, |quants| unsafe {
            (v128_load(quants.cast()), v128_load(quants.add(8).cast()))
        })
    })
}

/// `R` rows by a panel, which is left widened.
fn widen_and_multiply<const R: usize>(
    factors: &Factors,
    inputs: &[i16],
    quants: &[i8],
    widened: &mut [i16],
) -> [[f32; PANEL]; ROWS] {
    let blocks = quants.chunks_exact(PANEL * BLOCK).zip(widened.chunks_exact_mut(PANEL * BLOCK));
    let blocks = blocks.zip(inputs.chunks_exact(ROWS * BLOCK));
    factors.sum(blocks, |((quants, widened), inputs)| -> Dots<R> {
        assert_eq!(quants.len(), widened.len());
        let mut widened = widened.as_mut_ptr();
        // SAFETY: 16 bytes are read at each step of the block, and two vectors written.
        block(quants, inputs, |quants| unsafe {
            let low = i16x8_load_extend_i8x8(quants);
            let high = i16x8_load_extend_i8x8(quants.add(8));
            v128_store(widened.cast(), low);
            v128_store(widened.add(8).cast(), high);
            widened = widened.add(STEP);
            (low, high)
        })
    })
}

/// What makes values of a tile's dot products.
pub(super) struct Factors<'a> {
    input_scales: &'a [f32],
    input_sums: &'a [f32],
    scales: &'a [f32],
    offsets: &'a [f32],
}

impl<'a> Factors<'a> {
    pub(super) fn new(
        weight: &'a Int8Matrix,
        activations: &'a Activations,
        panel: usize,
        group: usize,
    ) -> Self {
        Self {
            input_scales: activations.group_scales(group),
            input_sums: activations.group_sums(group),
            scales: weight.panel_scales(panel),
            offsets: weight.panel_offsets(panel),
        }
    }

    /// Sums the blocks, whose dot products `dots` gives.
    #[inline(always)]
    pub(super) fn sum<const R: usize, T>(
        &self,
        blocks: impl Iterator<Item = T>,
        dots: impl Fn(T) -> Dots<R>,
    ) -> [[f32; PANEL]; ROWS] {
        let mut sums = [[f32x4_splat(0.0); 2]; R];
        let scales = self.scales.chunks_exact(PANEL);
        let input_scales = self.input_scales.chunks_exact(ROWS);
        for ((block, scales), input_scales) in blocks.zip(scales).zip(input_scales) {
            let dots = dots(block);
            let scales = eight(scales);
            for row in 0..R {
                let input_scale = f32x4_splat(input_scales[row]);
                for half in 0..2 {
                    let scale = f32x4_mul(scales[half], input_scale);
                    let product = f32x4_mul(f32x4_convert_i32x4(dots[row][half]), scale);
                    sums[row][half] = f32x4_add(sums[row][half], product);
                }
            }
        }
        let offsets = self.offsets.chunks_exact(PANEL);
        for (offsets, inputs) in offsets.zip(self.input_sums.chunks_exact(ROWS)) {
            let offsets = eight(offsets);
            for row in 0..R {
                for half in 0..2 {
                    let product = f32x4_mul(offsets[half], f32x4_splat(inputs[row]));
                    sums[row][half] = f32x4_add(sums[row][half], product);
                }
            }
        }
        let mut tile = [[0.0; PANEL]; ROWS];
        for (tile, sums) in tile.iter_mut().zip(sums) {
            // SAFETY: a row of the tile is eight f32, which is two vectors.
            unsafe {
                v128_store(tile.as_mut_ptr().cast(), sums[0]);
                v128_store(tile.as_mut_ptr().add(4).cast(), sums[1]);
            }
        }
        tile
    }
}

/// The exact dot products of a block: `R` rows by eight outputs, i32.
pub(super) type Dots<const R: usize> = [[v128; 2]; R];

/// The dot products of a block, `step` giving the eight outputs' next pair of inputs, widened.
///
/// A small loop, for V8 unrolls it by itself and spills where it is unrolled here; and pointers that go up, so
/// that the loads of a step differ by a constant, which V8 puts in the instruction for all but the splats.
#[inline(always)]
fn block<const R: usize, T>(
    quants: &[T],
    inputs: &[i16],
    mut step: impl FnMut(*const T) -> (v128, v128),
) -> Dots<R> {
    assert!(quants.len() == PANEL * BLOCK && inputs.len() == ROWS * BLOCK);
    let (mut quants, mut inputs) = (quants.as_ptr(), inputs.as_ptr());
    // SAFETY: the end of the block.
    let end = unsafe { quants.add(PANEL * BLOCK) };
    let mut dots = [[i32x4_splat(0); 2]; R];
    while quants != end {
        let (low, high) = step(quants);
        for (row, dots) in dots.iter_mut().enumerate() {
            // SAFETY: a step has a pair of inputs for each of four rows, and a pair is 32 bits.
            let pair = unsafe { v128_load32_splat(inputs.add(2 * row).cast()) };
            dots[0] = i32x4_add(dots[0], i32x4_dot_i16x8(low, pair));
            dots[1] = i32x4_add(dots[1], i32x4_dot_i16x8(high, pair));
        }
        // SAFETY: the block has whole steps, and this was one of them.
        unsafe {
            quants = quants.add(STEP);
            inputs = inputs.add(ROWS * 2);
        }
    }
    dots
}

#[inline(always)]
fn eight(values: &[f32]) -> [v128; 2] {
    [
        f32x4(values[0], values[1], values[2], values[3]),
        f32x4(values[4], values[5], values[6], values[7]),
    ]
}

/// Added to a number below 2^22, this leaves it rounded to the nearest whole, ties to even, in the low
/// bits of the sum: quicker than rounding and converting.
const ROUND: f32 = 12_582_912.0;

/// Quantises up to [`ROWS`] rows of `k` values each into a group of packed activations.
pub fn quantise_rows(values: &[f32], k: usize, group: Rows) {
    let scales = group.scales.chunks_exact_mut(ROWS);
    let sums = group.sums.chunks_exact_mut(ROWS);
    let blocks = (0..k / BLOCK).zip(scales.zip(sums)).map(|(block, (scales, sums))| {
        let mut rows = [[i32x4_splat(0); 4]; ROWS];
        let mut totals = [0; ROWS];
        for (row, packed) in rows.iter_mut().enumerate() {
            let values = values.get(row * k + block * BLOCK..).and_then(|rest| rest.get(..BLOCK));
            let Some(values) = values else { continue };
            (*packed, scales[row], totals[row]) = quantise_block(values);
            sums[row] = scales[row] * totals[row] as f32;
        }
        (rows, totals)
    });
    match group.quants {
        RowQuants::Pairs(quants) => {
            for ((rows, _), quants) in blocks.zip(quants.chunks_exact_mut(ROWS * BLOCK)) {
                interleave(rows, quants);
            }
        }
        RowQuants::Fours { quants, totals } => {
            let quants = quants.chunks_exact_mut(ROWS * BLOCK);
            let totals = totals.chunks_exact_mut(ROWS);
            for ((rows, sums), (quants, totals)) in blocks.zip(quants.zip(totals)) {
                let bytes =
                    rows.map(|[a, b, c, d]| [i8x16_narrow_i16x8(a, b), i8x16_narrow_i16x8(c, d)]);
                interleave(bytes, quants);
                totals.copy_from_slice(&sums);
            }
        }
    }
}

/// Each vector of `rows` holds four runs of one row, 32 bits each; what is stored holds one run of four rows.
fn interleave<const N: usize, T>(rows: [[v128; N]; ROWS], quants: &mut [T]) {
    assert_eq!(size_of_val(quants), size_of_val(&rows));
    let to = quants.as_mut_ptr().cast::<v128>();
    for i in 0..N {
        let [a, b, c, d] = rows.map(|row| row[i]);
        let (ab_low, ab_high) =
            (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd_low, cd_high) =
            (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        let runs = [
            i32x4_shuffle::<0, 1, 4, 5>(ab_low, cd_low),
            i32x4_shuffle::<2, 3, 6, 7>(ab_low, cd_low),
            i32x4_shuffle::<0, 1, 4, 5>(ab_high, cd_high),
            i32x4_shuffle::<2, 3, 6, 7>(ab_high, cd_high),
        ];
        for (at, run) in runs.into_iter().enumerate() {
            // SAFETY: there is room for as many vectors as the rows are, and a store may be unaligned.
            unsafe { v128_store(to.add(4 * i + at), run) };
        }
    }
}

/// The quants of 32 values as 16 pairs of i16, their scale, and their sum.
fn quantise_block(values: &[f32]) -> ([v128; 4], f32, i32) {
    assert_eq!(values.len(), BLOCK);
    let at = |i: usize| {
        // SAFETY: there are 32 values, eight vectors.
        unsafe { v128_load(values.as_ptr().add(4 * i).cast()) }
    };
    let largest = (1..8).fold(f32x4_abs(at(0)), |largest, i| f32x4_max(largest, f32x4_abs(at(i))));
    let maximum = f32x4_extract_lane::<0>(largest)
        .max(f32x4_extract_lane::<1>(largest))
        .max(f32x4_extract_lane::<2>(largest))
        .max(f32x4_extract_lane::<3>(largest));
    let (scale, inverse) = scale_of(maximum);
    let (inverse, round) = (f32x4_splat(inverse), f32x4_splat(ROUND));
    let quants = |i: usize| i32x4_sub(f32x4_add(f32x4_mul(at(i), inverse), round), round);
    let mut packed = [i32x4_splat(0); 4];
    let mut sum = i32x4_splat(0);
    for (i, packed) in packed.iter_mut().enumerate() {
        *packed = i16x8_narrow_i32x4(quants(2 * i), quants(2 * i + 1));
        sum = i32x4_add(sum, i32x4_dot_i16x8(*packed, i16x8_splat(1)));
    }
    let sum = i32x4_extract_lane::<0>(sum)
        + i32x4_extract_lane::<1>(sum)
        + i32x4_extract_lane::<2>(sum)
        + i32x4_extract_lane::<3>(sum);
    (packed, scale, sum)
}

/// A block of a packed weight `[32 / run][8][run]`, from eight rows of it, each quant with `lift` added.
pub fn interleave_rows(rows: &[[i8; BLOCK]; PANEL], layout: Layout, lift: i8, into: &mut [i8]) {
    assert_eq!(into.len(), PANEL * BLOCK);
    let lift = i8x16_splat(lift);
    for (half, into) in into.chunks_exact_mut(PANEL * 16).enumerate() {
        let rows = std::array::from_fn(|row| {
            // SAFETY: a row has two vectors, and a load may be unaligned.
            let quants = unsafe { v128_load(rows[row].as_ptr().cast::<v128>().add(half)) };
            i8x16_add(quants, lift)
        });
        let runs = match layout {
            Layout::Pairs => transpose(rows, |a, b| {
                let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
                (low, i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b))
            }),
            Layout::Fours => transpose(rows, |a, b| {
                (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b))
            }),
        };
        for (i, runs) in runs.into_iter().enumerate() {
            // SAFETY: half a block has room for eight vectors.
            unsafe { v128_store(into.as_mut_ptr().cast::<v128>().add(i), runs) };
        }
    }
}

/// Lane `i` of each vector, and then lane `i + 1` of each, with `zip` to interleave two.
///
/// The number of a lane, counted through all vectors, has the vector's in its first three bits. To interleave each with
/// the one four further on makes the first bit the last; after three times they are where the lane's were.
#[inline(always)]
fn transpose(
    mut vectors: [v128; PANEL],
    zip: impl Fn(v128, v128) -> (v128, v128),
) -> [v128; PANEL] {
    for _ in 0..PANEL.ilog2() {
        let [a, b, c, d, e, f, g, h] = vectors;
        let [(a, b), (c, d), (e, f), (g, h)] = [zip(a, e), zip(b, f), zip(c, g), zip(d, h)];
        vectors = [a, b, c, d, e, f, g, h];
    }
    vectors
}

/// GELU of each. The compiler looks only a dozen operations deep for what it can do in vectors, which leaves the
/// bounds of the error function's argument to be tested number by number.
#[inline(always)]
pub fn gelu_each(xs: [f32; PANEL]) -> [f32; PANEL] {
    let of = f32x4_splat;
    let polynomial = |coefficients: &[f32], square: [v128; 2]| {
        let first = of(coefficients[0]);
        coefficients[1..].iter().fold([first; 2], |sums, coefficient| {
            each(|i| f32x4_add(f32x4_mul(sums[i], square[i]), of(*coefficient)))
        })
    };
    let xs = eight(&xs);
    let roots = each(|i| f32x4_mul(xs[i], of(std::f32::consts::FRAC_1_SQRT_2)));
    let bounded = each(|i| f32x4_pmin(f32x4_pmax(roots[i], of(-4.0)), of(4.0)));
    let square = each(|i| f32x4_mul(bounded[i], bounded[i]));
    let (above, below) = (polynomial(&ERF_ABOVE, square), polynomial(&ERF_BELOW, square));
    let erf = each(|i| f32x4_div(f32x4_mul(bounded[i], above[i]), below[i]));
    let products = each(|i| f32x4_mul(f32x4_mul(of(0.5), xs[i]), f32x4_add(of(1.0), erf[i])));
    let mut out = [0.0; PANEL];
    // SAFETY: eight f32 are two vectors.
    unsafe {
        v128_store(out.as_mut_ptr().cast(), products[0]);
        v128_store(out.as_mut_ptr().add(4).cast(), products[1]);
    }
    out
}

/// What becomes of each of two vectors.
#[inline(always)]
fn each(of: impl Fn(usize) -> v128) -> [v128; 2] {
    [of(0), of(1)]
}
