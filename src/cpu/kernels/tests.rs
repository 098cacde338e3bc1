//! Kernels against each other and against plain arithmetic.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::output::Finishing;
use super::*;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Awkward, heavy-tailed and repeatable values, with zeros, denormals and extremes.
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

/// The same product in f64 over the dequantised values. Both kernels must come close to it.
fn oracle(weight: &Int8Matrix, activations: &Activations, row: usize, column: usize) -> f64 {
    let products = (0..weight.k())
        .map(|k| f64::from(weight.value(column, k)) * f64::from(activations.value(row, k)));
    products.sum()
}

fn weight(n: usize, k: usize, offsets: bool) -> Int8Matrix {
    let mut weight = Int8Matrix::zeros(n, k, Packing::PLAIN).unwrap();
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

/// A weight with the smallest and the largest possible quants, and with blocks of only those. Its quants are those
/// that `lift` makes unsigned; how they are stored is `packing`'s affair.
fn extreme_weight(n: usize, k: usize, bits: u32, lift: i32, packing: Packing) -> Int8Matrix {
    let most = ((1u32 << bits) - 1) as u8;
    let mut weight = Int8Matrix::zeros(n, k, packing).unwrap();
    for row in 0..n {
        for block in 0..k / BLOCK {
            let lifted: [u8; BLOCK] = match (row + block) % 4 {
                0 => [0; BLOCK],
                1 => [most; BLOCK],
                _ => std::array::from_fn(|i| (row * 31 + block * 17 + i * 41) as u8 & most),
            };
            let offset = if row % 2 == 0 { 0.0 } else { -0.03 };
            let scale = 0.01 * (1 + row % 5) as f32;
            let quants = lifted.map(|quant| quant.wrapping_sub(lift as u8) as i8);
            weight.set_block(row, block, scale, offset, &quants);
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
    for (packing, rows) in
        [(Packing::PLAIN, rows), (Packing { run: Run::Four, bits: 5, lift: 16 }, narrow)]
    {
        let [mut at_once, mut one_by_one] =
            [(); 2].map(|()| Int8Matrix::zeros(2 * PANEL, 2 * BLOCK, packing).unwrap());
        at_once.set_blocks(1, 1, &scales, &offsets, &rows);
        for (row, quants) in rows.iter().enumerate() {
            one_by_one.set_block(PANEL + row, 1, 0.5, -0.5, quants);
        }
        assert_eq!(at_once, one_by_one);
        let mut taught = [0; PANEL * BLOCK];
        pack::scalar::interleave_rows(&rows, packing, &mut taught);
        assert_eq!(&at_once.panel(1)[PANEL * BLOCK..], taught);
    }
}

#[test]
fn the_twins_give_the_same_activations() {
    let extremes = [0.0, -0.0, 1e-41, 5.656, 5.658, -5.658, f32::INFINITY, f32::NEG_INFINITY];
    let some = (0..4000).map(|i| (i as f32 - 2000.0) / 300.0).chain(extremes);
    let large = [-87.0, -87.000_01, -86.999, 88.0, 88.000_01, 87.999, 1e30, -1e30];
    for xs in some.chain(large).collect::<Vec<_>>().as_chunks().0 {
        let bits = |xs: [f32; PANEL]| xs.map(f32::to_bits);
        assert_eq!(bits(gelu::gelu_each(*xs)), bits(gelu::scalar::gelu_each(*xs)), "{xs:?}");
        let quick = (gelu::quick_gelu_each(*xs), gelu::scalar::quick_gelu_each(*xs));
        assert_eq!(bits(quick.0), bits(quick.1), "{xs:?}");
        let tanh = (gelu::gelu_tanh_each(*xs), gelu::scalar::gelu_tanh_each(*xs));
        assert_eq!(bits(tanh.0), bits(tanh.1), "{xs:?}");
        assert_eq!(bits(exp::exp_each(*xs)), bits(exp::scalar::exp_each(*xs)), "{xs:?}");
    }
}

fn product(weight: &Int8Matrix, values: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut activations = Activations::default();
    activations.quantise(values, weight.k(), weight.packing().run);
    let mut out = vec![f32::NAN; activations.m() * weight.n()];
    let target = Output::whole(&mut out, weight.n());
    int8_matmul(weight, &activations, bias, Finish::Store, target);
    out
}

fn check(m: usize, n: usize, k: usize, offsets: bool) {
    let weight = weight(n, k, offsets);
    let (values, bias) = (values(3, m * k), values(5, n));
    let out = product(&weight, &values, &bias);
    let mut activations = Activations::default();
    activations.quantise(&values, k, Run::Two);
    let mut taught = vec![f32::NAN; m * n];
    let columns = Output::whole(&mut taught, n).share(m, n);
    let finishing = Finishing { columns, bias: &bias, finish: Finish::Store };
    let multiply = product::scalar::KERNEL.multiply;
    multiply(&weight, &activations, 0..n.div_ceil(PANEL), &finishing);
    assert_eq!(out, taught, "the kernels differ at {m} x {n} x {k}");
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
fn every_kernel_that_runs_here_gives_the_same_bits() {
    for (bits, lift) in [(4, 8), (4, 0), (5, 16), (5, 0), (8, 128)] {
        for (m, n, k) in AWKWARD {
            let bias = values(5, n);
            // The last two are all as large as possible, to reach the largest sums.
            for values in [values(3, m * k), vec![1.0; m * k], vec![-1.0; m * k]] {
                let mut first = None;
                for (name, packing, kernel) in product::runnable(bits, lift) {
                    let weight = extreme_weight(n, k, bits, lift, packing);
                    let mut activations = Activations::default();
                    activations.quantise(&values, k, packing.run);
                    let mut out = vec![f32::NAN; m * n];
                    let columns = Output::whole(&mut out, n).share(m, n);
                    let finishing = Finishing { columns, bias: &bias, finish: Finish::Store };
                    (kernel.multiply)(&weight, &activations, 0..n.div_ceil(PANEL), &finishing);
                    let result = (out, weight.value(n - 1, k - 1));
                    let same = first.get_or_insert_with(|| result.clone()) == &result;
                    assert!(same, "{name}: {m} x {n} x {k}, {bits} bits");
                }
            }
        }
    }
}

#[test]
fn rows_are_quantised_alike_by_both_twins() {
    let layouts = [Run::Two, Run::Four];
    for ((m, k), layout) in [(1, 32), (3, 64), (4, 32), (50, 96)]
        .into_iter()
        .flat_map(|size| layouts.map(|l| (size, l)))
    {
        let values = values(11, m * k);
        let (mut ours, mut taught) = (Activations::default(), Activations::default());
        ours.quantise(&values, k, layout);
        taught.quantise_with(&values, k, layout, quantise::scalar::quantise_rows);
        assert_eq!(ours, taught, "{m} x {k}");
        for (i, value) in values.iter().enumerate() {
            let most = values[i / 32 * 32..][..32].iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let error = (ours.value(i / k, i % k) - value).abs();
            assert!(error <= most / 253.0, "{value} became {}", ours.value(i / k, i % k));
            // Kernels rely on it: of (-128)(-128), two products would not fit in 16 bits.
            let quant = if most == 0.0 { 0.0 } else { ours.value(i / k, i % k) / most * 127.0 };
            assert!((-127.5..=127.5).contains(&quant), "{value} became {quant}");
        }
    }
}

#[test]
fn a_product_is_finished_as_asked_and_touches_its_columns_only() {
    let (m, n, k) = (6, 13, 64);
    let weight = weight(n, k, false);
    let mut activations = Activations::default();
    activations.quantise(&values(3, m * k), k, Run::Two);
    let mut plain = vec![0.0; m * n];
    int8_matmul(&weight, &activations, &[], Finish::Store, Output::whole(&mut plain, n));
    for (finish, want) in [
        (Finish::Gelu, gelu::gelu as fn(f32) -> f32),
        (Finish::GeluTanh, gelu::gelu_tanh),
        (Finish::QuickGelu, gelu::quick_gelu),
        (Finish::Add, |sum| sum + 2.0),
    ] {
        let mut out = vec![2.0; m * 20];
        int8_matmul(&weight, &activations, &[], finish, Output::columns(&mut out, 20, 5));
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
    activations.quantise(&[1e-40; 64], 64, Run::Two);
    assert_eq!((activations.value(0, 0), activations.value(0, 63)), (0.0, 0.0));
}
