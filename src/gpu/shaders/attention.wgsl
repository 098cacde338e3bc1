// Attention of a few neighbouring queries of one sequence, for one head. sizes: n is the width of the output, k the row
// stride of the queries, a that of keys and values, b and c where in a row keys and values start, d the bits of the scale
// of the scores. The scores of all KEYS keys fit in the workgroup's memory, so that they are summed in the CPU's order.
@group(0) @binding(2) var<storage, read> queries: array<f32>;
@group(0) @binding(3) var<storage, read> keys_and_values: array<f32>;
// Of each group, its first row of the output, its first row among the queries, its number of queries, the sequence's
// first row; then how many keys the first query sees, and how many more each next one does.
@group(0) @binding(4) var<storage, read> groups: array<vec4<u32>>;
const OF_THREAD = (HEAD_DIM + 63u) / 64u;
var<workgroup> scaled: array<f32, QUERIES * HEAD_DIM>; // the queries, and at the end the results
var<workgroup> scores: array<f32, QUERIES * KEYS>;
var<workgroup> lanes: array<f32, 64>; // [query, lane]
var<workgroup> table: array<vec4<u32>, 2>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  if (i < 2u) { table[i] = groups[2u * place.x + i]; }
  let group = workgroupUniformLoad(&table[0]);
  let seen = workgroupUniformLoad(&table[1]);
  let most_seen = seen.x + (group.z - 1u) * seen.y;
  let head = place.y * HEAD_DIM;
  for (var at = i; at < QUERIES * HEAD_DIM; at += 64u) {
    // The last query is repeated to fill the group.
    let row = group.y + min(at / HEAD_DIM, group.z - 1u);
    scaled[at] = queries[row * sizes.k + head + at % HEAD_DIM] * bitcast<f32>(sizes.d);
  }
  workgroupBarrier();
  for (var key = i; key < most_seen; key += 64u) {
    let at = (group.w + key) * sizes.a + sizes.b + head;
    var dots = array<f32, QUERIES>();
    for (var d = 0u; d < HEAD_DIM; d++) {
      let k = keys_and_values[at + d];
      for (var q = 0u; q < QUERIES; q++) { dots[q] = apart(dots[q] + apart(scaled[q * HEAD_DIM + d] * k)); }
    }
    for (var q = 0u; q < QUERIES; q++) { scores[q * KEYS + key] = dots[q]; }
  }
  workgroupBarrier();
  softmax(i, seen, most_seen);
  for (var part = 0u; part < OF_THREAD; part++) {
    let column = part * 64u + i;
    if (column < HEAD_DIM) {
      var sums = array<f32, QUERIES>();
      var at = group.w * sizes.a + sizes.c + head + column;
      for (var key = 0u; key < most_seen; key++) {
        let value = keys_and_values[at];
        for (var q = 0u; q < QUERIES; q++) { sums[q] = apart(sums[q] + apart(scores[q * KEYS + key] * value)); }
        at += sizes.a;
      }
      for (var q = 0u; q < QUERIES; q++) { scaled[q * HEAD_DIM + column] = sums[q]; }
    }
  }
  workgroupBarrier();
  put_heads(group.x, group.z, head, i);
}

// Each query's scores become weights. Eight threads have a query: every eighth key each, and their sums are added as on
// the CPU.
fn softmax(i: u32, seen: vec4<u32>, most_seen: u32) {
  let q = i / 8u;
  let own = min(seen.x + q * seen.y, most_seen);
  let has = q < QUERIES;
  var largest = -3.0e38;
  if (has) {
    for (var key = i % 8u; key < own; key += 8u) { largest = max(largest, scores[q * KEYS + key]); }
  }
  lanes[i] = largest;
  workgroupBarrier();
  for (var lane = 0u; lane < 8u; lane++) { largest = max(largest, lanes[8u * q + lane]); }
  workgroupBarrier();
  var sum = 0.0;
  if (has) {
    for (var key = i % 8u; key < own; key += 8u) {
      let weight = exponential(scores[q * KEYS + key] - largest);
      scores[q * KEYS + key] = weight;
      sum = apart(sum + weight);
    }
  }
  lanes[i] = sum;
  workgroupBarrier();
  let at = 8u * q;
  let total = sum_of_eight(array<f32, 8>(lanes[at], lanes[at + 1u], lanes[at + 2u], lanes[at + 3u],
    lanes[at + 4u], lanes[at + 5u], lanes[at + 6u], lanes[at + 7u]));
  if (has) {
    let inverse = divide(1.0, total);
    for (var key = i % 8u; key < most_seen; key += 8u) {
      let weight = scores[q * KEYS + key] * inverse;
      scores[q * KEYS + key] = select(0.0, weight, key < own);
    }
  }
  workgroupBarrier();
}
