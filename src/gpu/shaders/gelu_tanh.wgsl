// x * sigmoid(2 √(2/π) (x + 0.044715 x³)), which is GELU by the hyperbolic tangent
fn activate(xs: vec4<f32>) -> vec4<f32> {
  let factors = apart4(apart4(xs * xs) * -0.07135482) - 1.595769;
  return divide4(xs, 1.0 + exponential4(xs * factors));
}
