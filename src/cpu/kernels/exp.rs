//! The exponential.

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "used where there is no SIMD")
)]
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) mod simd128;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(super) use scalar::exp_each;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use simd128::exp_each;

/// Below this, the result is 0.
const LEAST: f32 = -87.0;
/// Above this, the result is that of this.
const MOST: f32 = 88.0;
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Adding this to a small number leaves the nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// Coefficients of the Taylor series, the highest power first.
const SERIES: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// The exponential, to about two units in the last place; 0 below -87, and e^88 above 88.
///
/// Cody and Waite's reduction to `|r| <= ln 2 / 2`, then the Taylor series of `e^r` up to the seventh
/// power; the remainder is under 2e-8.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = x.clamp(LEAST, MOST);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut series = SERIES[0];
    for coefficient in &SERIES[1..] {
        series = series * r + coefficient;
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let value = series * f32::from_bits(power);
    if x < LEAST { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_one() {
        for i in -8600..8800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!((exp(-200.0), exp(0.0)), (0.0, 1.0));
        assert!(exp(1e30).is_finite());
    }
}
