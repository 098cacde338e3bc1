// Adds the offsets of types that have them: each block's offset times the sum of its activations.
@group(0) @binding(6) var<storage, read> b_offsets: array<f32>; // [n, k / 32]

fn offset_sums(columns: vec4<u32>, row: u32, blocks: u32, sums: vec4<f32>) -> vec4<f32> {
  var shifted = sums;
  for (var block = 0u; block < blocks; block++) {
    let sum = a_factors[row * blocks + block].y;
    let at = columns * blocks + block;
    shifted = apart4(shifted + apart4(vec4<f32>(b_offsets[at.x], b_offsets[at.y], b_offsets[at.z], b_offsets[at.w]) * sum));
  }
  return shifted;
}
