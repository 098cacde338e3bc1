//! The activations, and the error function.

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128", not(test)),
    allow(dead_code, reason = "used where there is no SIMD")
)]
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use super::exp::exp;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(super) use scalar::{gelu_each, gelu_tanh_each, quick_gelu_each};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use simd128::{gelu_each, gelu_tanh_each, quick_gelu_each};

/// The constant of OpenAI's model.py.
const QUICK: f32 = 1.702;

/// `x * sigmoid(1.702 x)`.
#[inline]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-QUICK * x))
}

/// GELU by the hyperbolic tangent, `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, which is
/// `x * sigmoid(2 √(2/π) (x + 0.044715 x³))`.
#[inline]
pub fn gelu_tanh(x: f32) -> f32 {
    x / (1.0 + exp(x * (TANH_CUBIC * (x * x) + TANH_LINEAR)))
}

/// The coefficients of the exponent of [`gelu_tanh`].
const TANH_LINEAR: f32 = -1.595_769;
const TANH_CUBIC: f32 = -0.071_354_82;

/// `x * Φ(x)`, the exact GELU.
#[inline]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Coefficients of [`erf`], the highest power first.
const ERF_ABOVE: [f32; 7] = [
    -2.726_142e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_5e-5,
    -7.349_906e-4,
    -2.954_6e-3,
    -1.609_603_3e-2,
];
const ERF_BELOW: [f32; 5] =
    [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2];

/// The error function to about 5e-7: Eigen's rational approximation (`generic_fast_erf_float`), an odd
/// polynomial divided by an even one, on `[-4, 4]`.
#[inline]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let above = ERF_ABOVE.into_iter().fold(0.0, |sum, coefficient| sum * square + coefficient);
    let below = ERF_BELOW.into_iter().fold(0.0, |sum, coefficient| sum * square + coefficient);
    x * above / below
}

#[cfg(test)]
mod tests {
    use candle_core::cpu::erf::erf_f64;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn activations_are_close_to_the_exact_ones() {
        for i in -10_000..10_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x);
            let wanted = 0.5 * exact * (1.0 + erf_f64(exact / std::f64::consts::SQRT_2));
            let error = (f64::from(gelu(x)) - wanted).abs();
            assert!(error < 1.5e-6, "gelu({x}) is off by {error}");
            let wanted = exact / (1.0 + (-1.702 * exact).exp());
            let error = (f64::from(quick_gelu(x)) - wanted).abs();
            assert!(error < 1.5e-6, "quick_gelu({x}) is off by {error}");
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044_715 * exact.powi(3));
            let wanted = 0.5 * exact * (1.0 + inner.tanh());
            let error = (f64::from(gelu_tanh(x)) - wanted).abs();
            assert!(error < 2e-6, "gelu_tanh({x}) is off by {error}");
        }
        assert_eq!((gelu(0.0), quick_gelu(0.0), gelu_tanh(0.0)), (0.0, 0.0, 0.0));
        assert!((gelu(1e4) / 1e4 - 1.0).abs() < 1e-6 && gelu(-1e4).abs() < 1e-3);
    }
}
