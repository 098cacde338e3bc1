// Both sides of a product in f32.
@group(0) @binding(2) var<storage, read> a: array<f32>; // [count, k]
@group(0) @binding(4) var<storage, read> b: array<f32>; // [n, k]

fn load_a(row: u32, k: u32) -> vec4<f32> {
  let place = row * sizes.k + k;
  var values = vec4<f32>(0.0);
  if (k < sizes.k) { values.x = a[place]; }
  if (k + 1u < sizes.k) { values.y = a[place + 1u]; }
  if (k + 2u < sizes.k) { values.z = a[place + 2u]; }
  if (k + 3u < sizes.k) { values.w = a[place + 3u]; }
  return values;
}

fn load_b(row: u32, k: u32) -> vec4<f32> {
  let place = row * sizes.k + k;
  var values = vec4<f32>(0.0);
  if (k < sizes.k) { values.x = b[place]; }
  if (k + 1u < sizes.k) { values.y = b[place + 1u]; }
  if (k + 2u < sizes.k) { values.z = b[place + 2u]; }
  if (k + 3u < sizes.k) { values.w = b[place + 3u]; }
  return values;
}
