// Four neighbouring values of a row of f32, [rows, width]; zero beyond its end.
@group(0) @binding(4) var<storage, read> xs: array<f32>;

fn load(row: u32, width: u32, at: u32) -> vec4<f32> {
  let place = row * width + at;
  var values = vec4<f32>(0.0);
  if (at < width) { values.x = xs[place]; }
  if (at + 1u < width) { values.y = xs[place + 1u]; }
  if (at + 2u < width) { values.z = xs[place + 2u]; }
  if (at + 3u < width) { values.w = xs[place + 3u]; }
  return values;
}
