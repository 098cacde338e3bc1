// Four neighbouring values of a patch of a picture without a class token, plus its position. sizes.a is the number of
// rows a picture has.
@group(0) @binding(4) var<storage, read> patches: array<f32>; // [pictures, rows, width]
@group(0) @binding(6) var<storage, read> positions: array<f32>; // [rows, width]

fn one(row: u32, width: u32, at: u32) -> f32 {
  if (at >= width) { return 0.0; }
  return apart(patches[row * width + at] + positions[row % sizes.a * width + at]);
}

fn load(row: u32, width: u32, at: u32) -> vec4<f32> {
  return vec4<f32>(one(row, width, at), one(row, width, at + 1u), one(row, width, at + 2u), one(row, width, at + 3u));
}
