//! int8 matrix products in blocks of 32, and the choice of a twin at compile time.
//!
//! A weight `[n, k]` and its activations `[m, k]` are both held as int8 with one f32 scale for every
//! 32 values along `k`. The product of two blocks is exact in i32; blocks are summed in f32, in order,
//! so that every twin, and any number of threads, gives the same bits.

pub mod attention;
pub mod float;
mod pack;
#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod relaxed;
#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "it serves where a SIMD twin is lacking")
)]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
mod target;

pub use pack::{Activations, Int8Matrix, Layout};
pub use target::{Finish, Target};

use std::ops::Range;

use crate::cpu::threads::POOL;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use scalar as twin;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd128 as twin;

#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
use relaxed as twin_of_fours;
#[cfg(not(all(target_arch = "wasm32", feature = "relaxed-simd")))]
use scalar as twin_of_fours;

/// Whether weights of at most 5 bits are better packed in fours.
pub const FOURS_PAY: bool = cfg!(all(target_arch = "wasm32", feature = "relaxed-simd"));

/// Values that share a scale.
pub const BLOCK: usize = 32;
/// Outputs that are computed together; a packed weight is made of panels this wide.
pub const PANEL: usize = 8;
/// Rows of activations that are computed together.
pub const ROWS: usize = 4;

/// Parts a product is split in for each thread, so that one that is held up leaves work to the others.
const PARTS_PER_THREAD: usize = 12;

/// `target = finish(activations[m, k] * weight[n, k]^T + bias[n])`; an empty bias is none.
///
/// # Panics
/// If the target has not `m` rows of at least `n` columns, or `k` differs.
pub fn int8_matmul(
    weight: &Int8Matrix,
    activations: &Activations,
    bias: &[f32],
    finish: Finish,
    target: Target,
) {
    assert_eq!((weight.k(), weight.layout()), (activations.k(), activations.layout()));
    assert!(bias.is_empty() || bias.len() == weight.n());
    let columns = target.share(activations.m(), weight.n());
    let panels = weight.n().div_ceil(PANEL);
    let parts = split(panels);
    POOL.run(parts, &|part| {
        let panels = panels * part / parts..panels * (part + 1) / parts;
        let store = |tile: &_, row, column| columns.store(tile, bias, finish, row, column);
        match weight.layout() {
            Layout::Pairs => twin::int8_panels(weight, activations, panels, &store),
            Layout::Fours => int8_panels_of_fours(weight, activations, panels, &store),
        }
    });
}

fn int8_panels_of_fours(
    weight: &Int8Matrix,
    activations: &Activations,
    panels: Range<usize>,
    store: &impl Fn(&[[f32; PANEL]; ROWS], usize, usize),
) {
    // SAFETY: a build with the feature is for engines that have relaxed SIMD, and refused by others as a whole.
    #[allow(unused_unsafe, reason = "the scalar twin is safe")]
    unsafe {
        twin_of_fours::int8_panels(weight, activations, panels, store);
    }
}

/// Into how many parts to split `pieces` of work.
fn split(pieces: usize) -> usize {
    match POOL.threads() {
        1 => 1,
        threads => pieces.min(threads * PARTS_PER_THREAD),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

    /// Awkward, heavy-tailed and repeatable: zeros, denormals and extremes among them.
    fn values(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..n)
            .map(|i| match i % 97 {
                0 => 0.0,
                1 => 1e-41,
                2 => 300.0 * next(),
                _ => next() * next(),
            })
            .collect()
    }

    /// The same product in f64 over the dequantised values: what the twins must come close to.
    fn oracle(weight: &Int8Matrix, activations: &Activations, row: usize, column: usize) -> f64 {
        let products = (0..weight.k())
            .map(|k| f64::from(weight.value(column, k)) * f64::from(activations.value(row, k)));
        products.sum()
    }

    fn weight(n: usize, k: usize, offsets: bool) -> Int8Matrix {
        let mut weight = Int8Matrix::zeros(n, k).unwrap();
        for (row, values) in values(7, n * k).chunks(k).enumerate() {
            weight.quantise_row(row, values);
        }
        if offsets {
            for row in 0..n {
                for block in 0..k / BLOCK {
                    let quants: [i8; BLOCK] = std::array::from_fn(|i| ((row + i) % 16) as i8);
                    weight.set_block(row, block, 0.01, -0.07 * (row % 3) as f32, &quants);
                }
            }
        }
        weight
    }

    /// With the least and the largest quants that there may be, and blocks of them alone.
    fn narrow_weight(n: usize, k: usize, bits: u32, lift: i8, layout: Layout) -> Int8Matrix {
        let most = (1 << bits) - 1;
        let mut weight = match layout {
            Layout::Pairs => Int8Matrix::zeros(n, k),
            Layout::Fours => Int8Matrix::in_fours(n, k, bits, lift),
        }
        .unwrap();
        for row in 0..n {
            for block in 0..k / BLOCK {
                let lifted: [i8; BLOCK] = match (row + block) % 4 {
                    0 => [0; BLOCK],
                    1 => [most; BLOCK],
                    _ => std::array::from_fn(|i| (row * 31 + block * 17 + i * 41) as i8 & most),
                };
                let offset = if row % 2 == 0 { 0.0 } else { -0.03 };
                let scale = 0.01 * (1 + row % 5) as f32;
                weight.set_block(row, block, scale, offset, &lifted.map(|quant| quant - lift));
            }
        }
        weight
    }

    #[test]
    fn eight_rows_at_once_are_what_they_are_one_by_one() {
        let rows: [[i8; BLOCK]; PANEL] =
            std::array::from_fn(|row| std::array::from_fn(|i| (row * BLOCK + i) as i8));
        let narrow = rows.map(|quants| quants.map(|quant| (quant & 31) - 16));
        let (scales, offsets) = ([0.5; PANEL], [-0.5; PANEL]);
        for (empty, rows) in [
            (Int8Matrix::zeros as fn(_, _) -> _, rows),
            ((|n, k| Int8Matrix::in_fours(n, k, 5, 16)) as fn(_, _) -> _, narrow),
        ] {
            let [mut at_once, mut one_by_one] =
                [(); 2].map(|()| empty(2 * PANEL, 2 * BLOCK).unwrap());
            at_once.set_blocks(1, 1, &scales, &offsets, &rows);
            for (row, quants) in rows.iter().enumerate() {
                one_by_one.set_block(PANEL + row, 1, 0.5, -0.5, quants);
            }
            assert_eq!(at_once, one_by_one);
            let mut taught = [0; PANEL * BLOCK];
            scalar::interleave_rows(&rows, at_once.layout(), at_once.lift(), &mut taught);
            assert_eq!(&at_once.panel(1)[PANEL * BLOCK..], taught);
        }
    }

    #[test]
    fn the_twins_give_the_same_gelu() {
        let extremes = [0.0, -0.0, 1e-41, 5.656, 5.658, -5.658, f32::INFINITY, f32::NEG_INFINITY];
        let some = (0..4000).map(|i| (i as f32 - 2000.0) / 300.0).chain(extremes);
        for xs in some.collect::<Vec<_>>().as_chunks().0 {
            let bits = |xs: [f32; PANEL]| xs.map(f32::to_bits);
            assert_eq!(bits(twin::gelu_each(*xs)), bits(scalar::gelu_each(*xs)), "{xs:?}");
        }
    }

    fn product(weight: &Int8Matrix, values: &[f32], bias: &[f32]) -> Vec<f32> {
        let mut activations = Activations::default();
        activations.quantise(values, weight.k(), weight.layout());
        let mut out = vec![f32::NAN; activations.m() * weight.n()];
        let target = Target::whole(&mut out, weight.n());
        int8_matmul(weight, &activations, bias, Finish::Store, target);
        out
    }

    fn check(m: usize, n: usize, k: usize, offsets: bool) {
        let weight = weight(n, k, offsets);
        let (values, bias) = (values(3, m * k), values(5, n));
        let out = product(&weight, &values, &bias);
        let mut activations = Activations::default();
        activations.quantise(&values, k, Layout::Pairs);
        let mut taught = vec![f32::NAN; m * n];
        let columns = Target::whole(&mut taught, n).share(m, n);
        scalar::int8_panels(&weight, &activations, 0..n.div_ceil(PANEL), &|tile, row, column| {
            columns.store(tile, &bias, Finish::Store, row, column);
        });
        assert_eq!(out, taught, "the twins differ at {m} x {n} x {k}");
        for (i, out) in out.iter().enumerate() {
            let want = oracle(&weight, &activations, i / n, i % n) + f64::from(bias[i % n]);
            let error = (f64::from(*out) - want).abs();
            assert!(error <= 2e-4 * (1.0 + want.abs()), "{m} x {n} x {k}: {out} for {want} at {i}");
        }
    }

    const AWKWARD: [(usize, usize, usize); 9] = [
        (1, 1, 32),
        (1, 8, 64),
        (2, 16, 64),
        (3, 7, 32),
        (4, 9, 96),
        (5, 17, 64),
        (50, 40, 128),
        (77, 24, 64),
        (257, 9, 32),
    ];

    #[test]
    fn products_of_awkward_sizes_equal_the_oracle() {
        for (m, n, k) in AWKWARD {
            check(m, n, k, false);
            check(m, n, k, true);
        }
    }

    #[test]
    fn either_layout_gives_the_same_bits() {
        let types = [(4, 8), (4, 0), (5, 16), (5, 0)];
        for ((m, n, k), (bits, lift)) in
            AWKWARD.into_iter().flat_map(|size| types.map(|of| (size, of)))
        {
            let bias = values(5, n);
            // The last are all as large as may be, so that the largest sums are met.
            for values in [values(3, m * k), vec![1.0; m * k], vec![-1.0; m * k]] {
                let [pairs, fours] = [Layout::Pairs, Layout::Fours].map(|layout| {
                    let weight = narrow_weight(n, k, bits, lift, layout);
                    (product(&weight, &values, &bias), weight.value(n - 1, k - 1))
                });
                assert_eq!(pairs, fours, "{m} x {n} x {k}");
            }
        }
    }

    #[test]
    fn rows_are_quantised_alike_by_both_twins() {
        let layouts = [Layout::Pairs, Layout::Fours];
        for ((m, k), layout) in [(1, 32), (3, 64), (4, 32), (50, 96)]
            .into_iter()
            .flat_map(|size| layouts.map(|l| (size, l)))
        {
            let values = values(11, m * k);
            let (mut ours, mut taught) = (Activations::default(), Activations::default());
            ours.quantise(&values, k, layout);
            taught.quantise_with(&values, k, layout, scalar::quantise_rows);
            assert_eq!(ours, taught, "{m} x {k}");
            for (i, value) in values.iter().enumerate() {
                let most = values[i / 32 * 32..][..32].iter().fold(0.0f32, |m, v| m.max(v.abs()));
                let error = (ours.value(i / k, i % k) - value).abs();
                assert!(error <= most / 253.0, "{value} became {}", ours.value(i / k, i % k));
            }
        }
    }

    #[test]
    fn a_product_is_finished_as_asked_and_touches_its_columns_only() {
        let (m, n, k) = (6, 13, 64);
        let weight = weight(n, k, false);
        let mut activations = Activations::default();
        activations.quantise(&values(3, m * k), k, Layout::Pairs);
        let mut plain = vec![0.0; m * n];
        int8_matmul(&weight, &activations, &[], Finish::Store, Target::whole(&mut plain, n));
        for (finish, want) in [
            (Finish::Gelu, float::gelu as fn(f32) -> f32),
            (Finish::QuickGelu, float::quick_gelu),
            (Finish::Add, |sum| sum + 2.0),
        ] {
            let mut out = vec![2.0; m * 20];
            int8_matmul(&weight, &activations, &[], finish, Target::columns(&mut out, 20, 5));
            for (i, out) in out.iter().enumerate() {
                let (row, column) = (i / 20, i % 20);
                let inside = (5..5 + n).contains(&column);
                let want = if inside { want(plain[row * n + column - 5]) } else { 2.0 };
                assert_eq!(*out, want, "{finish:?} at [{row}, {column}]");
            }
        }
    }

    #[test]
    fn blocks_of_zeros_and_denormals_have_no_scale() {
        let mut activations = Activations::default();
        activations.quantise(&[1e-40; 64], 64, Layout::Pairs);
        assert_eq!((activations.value(0, 0), activations.value(0, 63)), (0.0, 0.0));
    }
}
