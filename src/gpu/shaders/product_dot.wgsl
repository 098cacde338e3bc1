// activations [count, k] times weight [n, k], transposed: int8 in blocks of 32 along k. The dot product of two blocks is
// exact in i32, and blocks are summed in f32, in order, as in the CPU's kernels. A workgroup computes TILE_ROWS x 64, a
// thread TILE_ROWS / 16 x 4 neighbouring columns.
@group(0) @binding(2) var<storage, read> a_quants: array<vec4<u32>>; // [count, k / 16]
@group(0) @binding(3) var<storage, read> a_factors: array<vec2<f32>>; // [count, k / 32]: scale, sum
@group(0) @binding(4) var<storage, read> b_quants: array<vec4<u32>>; // [n, k / 16]
@group(0) @binding(5) var<storage, read> b_scales: array<f32>; // [n, k / 32]
@group(0) @binding(7) var<storage, read> bias: array<f32>; // [n]
const OF_THREAD = TILE_ROWS / 16u;
var<workgroup> a_tile: array<vec4<u32>, 2u * TILE_ROWS>; // [half of the block, row]
var<workgroup> b_tile: array<vec4<u32>, 128>; // [half of the block, column % 4, column / 4]
var<workgroup> a_tile_scales: array<f32, TILE_ROWS>;
var<workgroup> b_tile_scales: array<f32, 64>;

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
  let half = i % 2u;
  let line = i % 128u / 2u;
  for (var block = 0u; block < blocks; block++) {
    if (i < 128u) {
      let column = min(first_column + line, end_column - 1u);
      let place = line % 4u * 16u + line / 4u;
      b_tile[half * 64u + place] = b_quants[column * blocks * 2u + block * 2u + half];
      if (half == 0u) { b_tile_scales[place] = b_scales[column * blocks + block]; }
    } else if (line < TILE_ROWS) {
      let row = min(first_row + line, count.x - 1u);
      a_tile[half * TILE_ROWS + line] = a_quants[row * blocks * 2u + block * 2u + half];
      if (half == 0u) { a_tile_scales[line] = a_factors[row * blocks + block].x; }
    }
    workgroupBarrier();
    for (var y = 0u; y < OF_THREAD; y++) {
      let row = thread.y * OF_THREAD + y;
      let low = a_tile[row];
      let high = a_tile[TILE_ROWS + row];
      var dots: vec4<i32>;
      for (var x = 0u; x < 4u; x++) {
        let b_low = b_tile[x * 16u + thread.x];
        let b_high = b_tile[64u + x * 16u + thread.x];
        dots[x] = dot4I8Packed(low.x, b_low.x) + dot4I8Packed(low.y, b_low.y)
          + dot4I8Packed(low.z, b_low.z) + dot4I8Packed(low.w, b_low.w)
          + dot4I8Packed(high.x, b_high.x) + dot4I8Packed(high.y, b_high.y)
          + dot4I8Packed(high.z, b_high.z) + dot4I8Packed(high.w, b_high.w);
      }
      let scales = vec4<f32>(b_tile_scales[thread.x], b_tile_scales[16u + thread.x],
        b_tile_scales[32u + thread.x], b_tile_scales[48u + thread.x]);
      sums[y] += apart4(vec4<f32>(dots) * apart4(scales * a_tile_scales[row]));
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
