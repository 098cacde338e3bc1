// x * Φ(x), with the error function of the CPU's kernel: Eigen's generic_fast_erf_float.
fn erf(value: vec4<f32>) -> vec4<f32> {
  let x = clamp(value, vec4<f32>(-4.0), vec4<f32>(4.0));
  let square = apart4(x * x);
  var above = vec4<f32>(-2.726142e-10);
  above = apart4(above * square) + 2.7706814e-8;
  above = apart4(above * square) - 2.101024e-6;
  above = apart4(above * square) - 5.6925065e-5;
  above = apart4(above * square) - 7.349906e-4;
  above = apart4(above * square) - 2.9546e-3;
  above = apart4(above * square) - 1.6096033e-2;
  var below = vec4<f32>(-1.4566072e-5);
  below = apart4(below * square) - 2.1337406e-4;
  below = apart4(below * square) - 1.682827e-3;
  below = apart4(below * square) - 7.373329e-3;
  below = apart4(below * square) - 1.426474e-2;
  let top = apart4(x * above);
  return divide4(top, below);
}

fn activate(xs: vec4<f32>) -> vec4<f32> {
  return apart4(apart4(0.5 * xs) * apart4(1.0 + erf(xs * 0.70710678118654752)));
}
