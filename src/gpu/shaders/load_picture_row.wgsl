// Four neighbouring values of a picture's row before the first norm: the class token or a patch, plus its position.
// sizes.a is the number of rows a picture has.
@group(0) @binding(4) var<storage, read> patches: array<f32>; // [pictures, rows - 1, width]
@group(0) @binding(5) var<storage, read> class_token: array<f32>; // [width]
@group(0) @binding(6) var<storage, read> positions: array<f32>; // [rows, width]

fn one(row: u32, width: u32, at: u32) -> f32 {
  if (at >= width) { return 0.0; }
  let picture = row / sizes.a;
  let own = row % sizes.a;
  var value = class_token[at];
  if (own > 0u) { value = patches[(picture * (sizes.a - 1u) + own - 1u) * width + at]; }
  return apart(value + positions[own * width + at]);
}

fn load(row: u32, width: u32, at: u32) -> vec4<f32> {
  return vec4<f32>(one(row, width, at), one(row, width, at + 1u), one(row, width, at + 2u), one(row, width, at + 3u));
}
