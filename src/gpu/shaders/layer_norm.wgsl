// Layer norm: each row by its own mean and variance, then scaled and shifted. One workgroup a row. sizes.n is the width,
// sizes.k the bits of epsilon.
//
// Eight threads sum the columns whose index is the same modulo 8, and the eight sums are added as on the CPU.
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
const PIECE = 2048u;
var<workgroup> piece: array<f32, PIECE>; // of the row
var<workgroup> lanes: array<f32, 8>;

// Puts the values of a row from `start` on into `piece`.
fn fetch(row: u32, width: u32, start: u32, i: u32) {
  workgroupBarrier();
  for (var at = 4u * i; at < min(PIECE, width - start); at += 4u * THREADS) {
    let values = load(row, width, start + at);
    piece[at] = values.x;
    piece[at + 1u] = values.y;
    piece[at + 2u] = values.z;
    piece[at + 3u] = values.w;
  }
  workgroupBarrier();
}

// The sum of the values, or of the squares of their distance to the mean.
fn sum_of(row: u32, width: u32, i: u32, mean: f32, squares: bool) -> f32 {
  var sum = 0.0;
  for (var start = 0u; start < width; start += PIECE) {
    if (!squares || width > PIECE) { fetch(row, width, start, i); }
    if (i < 8u) {
      for (var at = i; at < min(PIECE, width - start); at += 8u) {
        let value = piece[at];
        if (squares) {
          sum = apart(sum + apart((value - mean) * (value - mean)));
        } else {
          sum = apart(sum + value);
        }
      }
    }
  }
  workgroupBarrier();
  if (i < 8u) { lanes[i] = sum; }
  workgroupBarrier();
  return sum_of_eight(lanes);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let row = group.x;
  let width = sizes.n;
  let mean = divide(sum_of(row, width, i, 0.0, false), f32(width));
  let variance = divide(sum_of(row, width, i, mean, true), f32(width));
  let inverse = divide(1.0, root(variance + bitcast<f32>(sizes.k)));
  for (var start = 0u; start < width; start += 4u * THREADS) {
    let at = start + 4u * i;
    let inside = at < width;
    var normed = vec4<f32>(0.0);
    if (inside) {
      let last = vec4<u32>(width - 1u);
      let columns = min(vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u), last);
      let scales = vec4<f32>(weight[columns.x], weight[columns.y], weight[columns.z], weight[columns.w]);
      let shifts = vec4<f32>(bias[columns.x], bias[columns.y], bias[columns.z], bias[columns.w]);
      normed = apart4(apart4((load(row, width, at) - mean) * inverse) * scales) + shifts;
    }
    put(row, width, at, normed, i, inside);
  }
}
