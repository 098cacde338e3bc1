// The patches of pictures as rows, normalised: channel, line, column, then zeros. One workgroup a patch. sizes: n is the
// values of a row, k those that are not padding, a the picture's edge, b the patch's, c patches along an edge.
@group(0) @binding(4) var<storage, read> pixels: array<u32>; // bytes, [pictures, edge, edge, 3]
@group(0) @binding(5) var<storage, read> levels: array<f32>; // [3, 256]: what each level becomes

fn value(patch_row: u32, at: u32) -> f32 {
  if (at >= sizes.k) { return 0.0; }
  let area = sizes.b * sizes.b;
  let channel = at / area;
  let line = at % area / sizes.b;
  let column = at % sizes.b;
  let of_picture = sizes.c * sizes.c;
  let picture = patch_row / of_picture;
  let own = patch_row % of_picture;
  let y = own / sizes.c * sizes.b + line;
  let x = own % sizes.c * sizes.b + column;
  let byte = ((picture * sizes.a + y) * sizes.a + x) * 3u + channel;
  let level = (pixels[byte / 4u] >> (byte % 4u * 8u)) & 255u;
  return levels[channel * 256u + level];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let row = group.x;
  for (var start = 0u; start < sizes.n; start += 4u * THREADS) {
    let at = start + 4u * i;
    let values = vec4<f32>(value(row, at), value(row, at + 1u), value(row, at + 2u), value(row, at + 3u));
    put(row, sizes.n, at, values, i, at < sizes.n);
  }
}
