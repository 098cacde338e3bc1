// Rounds values to int8 in blocks of 32, each with its scale and the sum of its values: the same arithmetic as the
// CPU's quantise kernel. Eight neighbouring threads hold a block, four values each, so all threads call it together;
// those with nothing to store are not `inside`.
@group(0) @binding(10) var<storage, read_write> quants: array<u32>; // [rows, width / 4]
@group(0) @binding(11) var<storage, read_write> factors: array<vec2<f32>>; // [rows, width / 32]: scale, sum
var<workgroup> maxima: array<f32, THREADS>;
var<workgroup> totals: array<i32, THREADS>;

fn put(row: u32, width: u32, at: u32, values: vec4<f32>, i: u32, inside: bool) {
  let sizes = abs(values);
  maxima[i] = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  workgroupBarrier();
  let first = i / 8u * 8u;
  var maximum = 0.0;
  for (var j = 0u; j < 8u; j++) { maximum = max(maximum, maxima[first + j]); }
  var scale = 0.0;
  var inverse = 0.0;
  if (maximum >= 1e-30) {
    scale = divide(maximum, 127.0);
    inverse = divide(127.0, maximum);
  }
  let rounded = vec4<i32>(round(values * inverse));
  totals[i] = rounded.x + rounded.y + rounded.z + rounded.w;
  workgroupBarrier();
  if (!inside) { return; }
  let place = row * width + at;
  let bytes = vec4<u32>(rounded) & vec4<u32>(255u);
  quants[place / 4u] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
  if (i % 8u == 0u) {
    var total = 0;
    for (var j = 0u; j < 8u; j++) { total += totals[first + j]; }
    factors[place / 32u] = vec2<f32>(scale, scale * f32(total));
  }
}
