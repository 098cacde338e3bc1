// x * sigmoid(1.702 x)
fn activate(xs: vec4<f32>) -> vec4<f32> { return divide4(xs, 1.0 + exponential4(-1.702 * xs)); }
