// Rounds the results of a group of queries for one head to int8; blocks of 32 divide a head.
fn put_heads(row: u32, queries: u32, head: u32, i: u32) {
  for (var start = 0u; start < QUERIES * HEAD_DIM; start += 256u) {
    let at = start + 4u * i;
    let inside = at < queries * HEAD_DIM;
    let place = min(at, QUERIES * HEAD_DIM - 4u);
    let values = vec4<f32>(scaled[place], scaled[place + 1u], scaled[place + 2u], scaled[place + 3u]);
    put(row + at / HEAD_DIM, sizes.n, head + at % HEAD_DIM, values, i, inside);
  }
}
