// The product of product_dot.wgsl for GPUs on which an int8 dot product is slow, to the same bits: quants are unpacked
// to f32, in which the sum of a block is exact in any order, for it is a whole number below 2^24.
@group(0) @binding(2) var<storage, read> a_quants: array<u32>; // [count, k / 4]
@group(0) @binding(3) var<storage, read> a_factors: array<vec2<f32>>; // [count, k / 32]: scale, sum
@group(0) @binding(4) var<storage, read> b_quants: array<u32>; // [n, k / 4]
@group(0) @binding(5) var<storage, read> b_scales: array<f32>; // [n, k / 32]
@group(0) @binding(7) var<storage, read> bias: array<f32>; // [n]
const OF_THREAD = TILE_ROWS / 16u;
var<workgroup> a_tile: array<f32, 16u * TILE_ROWS>; // [k, row]: half a block
var<workgroup> b_tile: array<f32, 1024>; // [k, column]
var<workgroup> a_tile_scales: array<f32, TILE_ROWS>;
var<workgroup> b_tile_scales: array<f32, 64>;

fn unpacked(four: u32) -> vec4<f32> {
  // Shifted to the top, and back with the sign.
  return vec4<f32>(vec4<i32>(vec4<u32>(four << 24u, four << 16u, four << 8u, four)) >> vec4<u32>(24u));
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) thread: vec3<u32>,
  @builtin(local_invocation_index) i: u32,
) {
  let first_column = group.x * 64u + sizes.a;
  let end_column = sizes.a + sizes.n;
  let first_row = group.y * TILE_ROWS;
  let blocks = sizes.k / 32u;
  var sums: array<vec4<f32>, OF_THREAD>;
  var dots: array<vec4<f32>, OF_THREAD>;
  let line = i / 4u;
  let quarter = i % 4u;
  for (var half = 0u; half < 2u * blocks; half++) {
    let block = half / 2u;
    let word = half * 4u + quarter;
    let column = min(first_column + line, end_column - 1u);
    let b = unpacked(b_quants[column * blocks * 8u + word]);
    let place = quarter * 4u;
    b_tile[place * 64u + line] = b.x;
    b_tile[(place + 1u) * 64u + line] = b.y;
    b_tile[(place + 2u) * 64u + line] = b.z;
    b_tile[(place + 3u) * 64u + line] = b.w;
    if (quarter == 0u) { b_tile_scales[line] = b_scales[column * blocks + block]; }
    if (line < TILE_ROWS) {
      let row = min(first_row + line, count.x - 1u);
      let a = unpacked(a_quants[row * blocks * 8u + word]);
      a_tile[place * TILE_ROWS + line] = a.x;
      a_tile[(place + 1u) * TILE_ROWS + line] = a.y;
      a_tile[(place + 2u) * TILE_ROWS + line] = a.z;
      a_tile[(place + 3u) * TILE_ROWS + line] = a.w;
      if (quarter == 0u) { a_tile_scales[line] = a_factors[row * blocks + block].x; }
    }
    workgroupBarrier();
    for (var j = 0u; j < 16u; j++) {
      let at = j * 64u + thread.x * 4u;
      let columns = vec4<f32>(b_tile[at], b_tile[at + 1u], b_tile[at + 2u], b_tile[at + 3u]);
      for (var y = 0u; y < OF_THREAD; y++) {
        dots[y] += a_tile[j * TILE_ROWS + thread.y * OF_THREAD + y] * columns;
      }
    }
    if (half % 2u == 1u) {
      let at = thread.x * 4u;
      let scales = vec4<f32>(b_tile_scales[at], b_tile_scales[at + 1u], b_tile_scales[at + 2u], b_tile_scales[at + 3u]);
      for (var y = 0u; y < OF_THREAD; y++) {
        sums[y] += apart4(dots[y] * apart4(scales * a_tile_scales[thread.y * OF_THREAD + y]));
        dots[y] = vec4<f32>(0.0);
      }
    }
    workgroupBarrier();
  }
  for (var y = 0u; y < OF_THREAD; y++) {
    let row = first_row + thread.y * OF_THREAD + y;
    let column = group.x * 64u + thread.x * 4u;
    let inside = row < count.x && column < sizes.n;
    let columns = min(vec4<u32>(column + sizes.a) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end_column - 1u));
    let biases = vec4<f32>(bias[columns.x], bias[columns.y], bias[columns.z], bias[columns.w]);
    let shift = offset_sums(columns, min(row, count.x - 1u), blocks, sums[y]);
    put(row, sizes.n, column, activate(apart4(shift + biases)), i, inside);
  }
}
