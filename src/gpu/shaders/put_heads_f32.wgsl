// Stores the results of a group of queries for one head, [rows, width] f32.
@group(0) @binding(10) var<storage, read_write> out: array<f32>;

fn put_heads(row: u32, queries: u32, head: u32, i: u32) {
  for (var at = i; at < queries * HEAD_DIM; at += 64u) {
    out[(row + at / HEAD_DIM) * sizes.n + head + at % HEAD_DIM] = scaled[at];
  }
}
