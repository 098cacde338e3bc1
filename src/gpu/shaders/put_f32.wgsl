// Stores four neighbouring values of a row of f32, [rows, width]. All threads call it; those with nothing to store are
// not `inside`.
@group(0) @binding(10) var<storage, read_write> out: array<f32>;

fn put(row: u32, width: u32, at: u32, values: vec4<f32>, i: u32, inside: bool) {
  if (!inside) { return; }
  let place = row * width + at;
  out[place] = values.x;
  if (at + 1u < width) { out[place + 1u] = values.y; }
  if (at + 2u < width) { out[place + 2u] = values.z; }
  if (at + 3u < width) { out[place + 3u] = values.w; }
}
