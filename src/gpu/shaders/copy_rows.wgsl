// Puts rows of f32 in another form, or other rows at their places. One workgroup a row. sizes.n is the width.
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let row = group.x;
  for (var start = 0u; start < sizes.n; start += 4u * THREADS) {
    let at = start + 4u * i;
    put(row, sizes.n, at, load(from_row(row), sizes.n, at), i, at < sizes.n);
  }
}
