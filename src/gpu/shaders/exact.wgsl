// f32 arithmetic that rounds as on the CPU. Activations are rounded to int8 after every layer, so a difference in the
// last bit becomes a whole step now and then, and grows from layer to layer. Sums, differences and products are rounded
// correctly on every GPU, but a compiler may fuse a product with a sum, or take sums in another order, and quotients and
// roots are only close.

// The same number. count.y is 0, which no compiler knows: what is computed from the number is not fused with what it
// was computed from, nor put in another order. Metal's compiler does both, and WGSL cannot forbid it:
// https://github.com/gpuweb/gpuweb/issues/2076.
fn apart(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ count.y); }

fn apart4(xs: vec4<f32>) -> vec4<f32> { return bitcast<vec4<f32>>(bitcast<vec4<u32>>(xs) ^ vec4<u32>(count.y)); }

// The first bits of each number: products of two such are exact. Veltkamp's splitting.
fn high4(xs: vec4<f32>) -> vec4<f32> {
  let scaled = apart4(xs * 4097.0);
  return scaled - apart4(scaled - xs);
}

// a / b, correctly rounded: the GPU's own quotient, corrected by what is left of a, which Dekker's product gives exactly.
fn divide4(dividend: vec4<f32>, divisor: vec4<f32>) -> vec4<f32> {
  let a = apart4(dividend);
  let b = apart4(divisor);
  let quotient = apart4(a / b);
  let product = apart4(quotient * b);
  let high = apart4(high4(quotient));
  let low = quotient - high;
  let b_high = apart4(high4(b));
  let b_low = b - b_high;
  let lost = apart4(apart4(apart4(high * b_high) - product) + apart4(high * b_low)) + apart4(low * b_high);
  let rest = apart4(a - product) - apart4(apart4(lost) + apart4(low * b_low));
  let corrected = quotient + apart4(rest / b);
  // Not of zeros and infinities, nor where a product above would be no normal number.
  let range = vec4<f32>(1e-25);
  let is_normal = (abs(a) > range) & (abs(b) > range) & (abs(b) < 1.0 / range) & (abs(quotient) > range) & (abs(quotient) < 1.0 / range);
  return apart4(select(quotient, corrected, is_normal));
}

fn divide(a: f32, b: f32) -> f32 { return divide4(vec4<f32>(a), vec4<f32>(b)).x; }

// The sum of eight numbers, in the CPU's order.
fn sum_of_eight(xs: array<f32, 8>) -> f32 {
  let left = apart(apart(xs[0] + xs[4]) + apart(xs[2] + xs[6]));
  return left + apart(apart(xs[1] + xs[5]) + apart(xs[3] + xs[7]));
}

// The square root of a positive number, correctly rounded, digit by digit.
fn root(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var significand = (bits & 0x7fffffu) | 0x800000u;
  var exponent = i32(bits >> 23u) - 150;
  var zeros = 12;
  if ((exponent & 1) != 0) {
    significand <<= 1u;
    exponent -= 1;
    zeros = 11;
  }
  var digits = 0u;
  var rest = 0u;
  for (var pair = 12; pair >= -zeros; pair--) {
    var next = 0u;
    if (pair >= 0) { next = (significand >> u32(2 * pair)) & 3u; }
    rest = (rest << 2u) | next;
    let trial = (digits << 2u) | 1u;
    digits <<= 1u;
    if (rest >= trial) {
      rest -= trial;
      digits |= 1u;
    }
  }
  if (rest > digits) { digits += 1u; }
  return bitcast<f32>((u32(exponent / 2 - zeros + 150) << 23u) + (digits - 0x800000u));
}

// The exponential of the CPU's kernel: Cody and Waite's reduction, then the Taylor series.
fn exponential4(xs: vec4<f32>) -> vec4<f32> {
  let clamped = clamp(xs, vec4<f32>(-87.0), vec4<f32>(88.0));
  let shifted = apart4(apart4(clamped * 1.44269504) + 12582912.0);
  let n = shifted - 12582912.0;
  let r = apart4(clamped - apart4(n * 0.6933594)) - apart4(n * -2.1219444e-4);
  var series = vec4<f32>(1.0 / 5040.0);
  series = apart4(series * r) + 1.0 / 720.0;
  series = apart4(series * r) + 1.0 / 120.0;
  series = apart4(series * r) + 1.0 / 24.0;
  series = apart4(series * r) + 1.0 / 6.0;
  series = apart4(series * r) + 0.5;
  series = apart4(series * r) + 1.0;
  series = apart4(series * r) + 1.0;
  let power = (bitcast<vec4<u32>>(shifted) - bitcast<u32>(12582912.0) + 127u) << vec4<u32>(23u);
  return apart4(select(series * bitcast<vec4<f32>>(power), vec4<f32>(0.0), xs < vec4<f32>(-87.0)));
}

fn exponential(x: f32) -> f32 { return exponential4(vec4<f32>(x)).x; }
