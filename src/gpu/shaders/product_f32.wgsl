// activations [count, k] times weight [n, k], transposed, in f32. `load_a` and `load_b` give four neighbouring values
// along k, from f32 or from int8. A workgroup computes TILE_ROWS x 64, a thread TILE_ROWS / 16 x 4 neighbouring columns.
@group(0) @binding(7) var<storage, read> bias: array<f32>; // [n]
const OF_THREAD = TILE_ROWS / 16u;
var<workgroup> a_tile: array<f32, 16u * TILE_ROWS>; // [k, row]
var<workgroup> b_tile: array<f32, 1024>; // [k, column]

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) thread: vec3<u32>,
  @builtin(local_invocation_index) i: u32,
) {
  let first_column = group.x * 64u + sizes.a;
  let end_column = sizes.a + sizes.n;
  let first_row = group.y * TILE_ROWS;
  var sums: array<vec4<f32>, OF_THREAD>;
  let line = i / 4u;
  let quarter = i % 4u;
  for (var start = 0u; start < sizes.k; start += 16u) {
    let k = start + quarter * 4u;
    let b = load_b(min(first_column + line, end_column - 1u), k);
    b_tile[(quarter * 4u) * 64u + line] = b.x;
    b_tile[(quarter * 4u + 1u) * 64u + line] = b.y;
    b_tile[(quarter * 4u + 2u) * 64u + line] = b.z;
    b_tile[(quarter * 4u + 3u) * 64u + line] = b.w;
    if (line < TILE_ROWS) {
      let a = load_a(min(first_row + line, count.x - 1u), k);
      a_tile[(quarter * 4u) * TILE_ROWS + line] = a.x;
      a_tile[(quarter * 4u + 1u) * TILE_ROWS + line] = a.y;
      a_tile[(quarter * 4u + 2u) * TILE_ROWS + line] = a.z;
      a_tile[(quarter * 4u + 3u) * TILE_ROWS + line] = a.w;
    }
    workgroupBarrier();
    for (var j = 0u; j < 16u; j++) {
      let place = j * 64u + thread.x * 4u;
      let columns = vec4<f32>(b_tile[place], b_tile[place + 1u], b_tile[place + 2u], b_tile[place + 3u]);
      for (var y = 0u; y < OF_THREAD; y++) {
        sums[y] += a_tile[j * TILE_ROWS + thread.y * OF_THREAD + y] * columns;
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
    put(row, sizes.n, column, activate(apart4(sums[y] + biases)), i, inside);
  }
}
