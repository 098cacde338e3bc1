//! Arithmetic that rounds as on the CPU.

use super::*;
use crate::gpu::kernels::Kernel;
use crate::gpu::weights::buffer_of;

/// The WGSL of the arithmetic. The GPU's own quotients and roots may be exact, as those of a software adapter are: with
/// `nudge`, they are wrong by so many units in the last place, as WGSL allows.
fn source(nudge: i32) -> String {
    let source = include_str!("../shaders/exact.wgsl");
    let quotient = "apart4(a / b)";
    assert!(source.contains(quotient));
    source.replace(quotient, &format!("bitcast<vec4<f32>>(bitcast<vec4<i32>>(a / b) + ({nudge}))"))
}

/// Computes an expression of `x` and `y` for each pair, and compares bits.
fn compare(
    gpu: &Gpu,
    nudge: i32,
    expression: &str,
    pairs: &[(f32, f32)],
    function: impl Fn(f32, f32) -> f32,
) {
    let source = format!(
        "{}{}{}
        @compute @workgroup_size(1)
        fn main(@builtin(workgroup_id) group: vec3<u32>) {{
          let i = group.x;
          let x = xs[2u * i];
          let y = xs[2u * i + 1u];
          out[i] = {expression};
        }}",
        include_str!("../shaders/sizes.wgsl"),
        source(nudge),
        "@group(0) @binding(4) var<storage, read> xs: array<f32>;
         @group(0) @binding(10) var<storage, read_write> out: array<f32>;",
    );
    let values: Vec<f32> = pairs.iter().flat_map(|(x, y)| [*x, *y]).collect();
    let from = buffer_of(gpu, "pairs", &values);
    let out = activations(gpu, pairs.len(), 1);
    run(gpu, Count::Rows, pairs.len(), |to| {
        let kernel = Kernel::Custom(source.leak());
        to.each_row(kernel, Count::Rows, 1, &[1], &[(4, &from), (10, &out.floats)]);
    });
    for ((x, y), got) in pairs.iter().zip(floats(gpu, &out.floats, pairs.len())) {
        let want = function(*x, *y);
        assert_eq!(
            got.to_bits(),
            want.to_bits(),
            "{expression} of {x:e}, {y:e}: {got:e} for {want:e}"
        );
    }
}

/// Pairs of numbers of all sizes that are normal, and whose quotients are.
fn pairs() -> Vec<(f32, f32)> {
    let mut state = 7u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Exponents from -40 to 40.
        f32::from_bits((state & 0x807f_ffff) | ((state % 80 + 87) << 23))
    };
    let random = (0..40_000).map(|_| (next(), next()));
    let edges = [1.0f32, 2.0, 127.0, 255.0, 1.0 / 3.0, 0.999_999_94, 1.000_000_1, 16_777_215.0];
    let edges = edges.iter().flat_map(|x| edges.iter().map(|y| (*x, *y)));
    random.chain(edges).chain([(0.0, 3.0), (-0.0, 3.0)]).collect()
}

#[test]
fn quotients_and_roots_are_rounded_correctly() {
    let Some(gpu) = gpu() else { return };
    let pairs = pairs();
    for nudge in [0, 1, -1, 2, -2] {
        // Zeros have no neighbours that are normal numbers.
        let pairs = if nudge == 0 { &pairs[..] } else { &pairs[..40_000] };
        compare(gpu, nudge, "divide(x, y)", pairs, |x, y| x / y);
        compare(gpu, nudge, "divide(127.0, x)", &pairs[..40_000], |x, _| 127.0 / x);
    }
    let positive: Vec<_> = pairs.iter().map(|(x, y)| (x.abs().max(1e-12), *y)).collect();
    compare(gpu, 0, "root(x)", &positive, |x, _| x.sqrt());
}
