// The grouping of vectors that are alike, against a plain implementation.

import assert from "node:assert/strict";
import { test } from "node:test";
import { groupsOf, meanCosine } from "../../www/page/embed/clusters.js";

/** Lehmer's generator, so that a failure can be reproduced. @param {number} state */
function generator(state) {
  return () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
}

/**
 * Vectors around centres, in a mixed order.
 * @param {number[]} sizes of the groups
 * @param {number} spread
 * @param {number} seed
 */
function around(sizes, spread, seed) {
  const random = generator(seed);
  const vector = () => Array.from({ length: 24 }, random);
  const members = sizes.flatMap((size, group) => {
    const centre = vector();
    return Array.from({ length: size }, () => ({ group, vector: centre.map((value) => value + spread * random()) }));
  });
  return members.sort((a, b) => Number(a.vector[0]) - Number(b.vector[0]));
}

test("vectors around centres are grouped by their centres", () => {
  for (const [seed, sizes] of [[3], [5, 5], [9, 4, 2], [6, 3, 1, 1], [40, 30, 20, 10]].entries()) {
    const members = around(sizes, 0.15, seed + 1);
    const groups = groupsOf(members.map(({ vector }) => vector));
    if (sizes.length === 1) {
      assert.equal(groups.flat().length, 3);
      continue;
    }
    const found = groups.map((group) => new Set(group.map((index) => members[index]?.group)));
    assert.deepEqual(found.map((kinds) => kinds.size), sizes.map(() => 1), `${sizes}: no group mixes two centres`);
    assert.deepEqual(groups.map(({ length }) => length), sizes);
  }
});

test("merges are those of average linkage by the plain algorithm", () => {
  const random = generator(77);
  const vectors = Array.from({ length: 30 }, () => Array.from({ length: 6 }, random));
  const groups = groupsOf(vectors);
  assert.deepEqual(groups.flat().toSorted((a, b) => a - b), [...vectors.keys()], "each vector is in one group");
  assert.deepEqual(groups.map((group) => group.toSorted((a, b) => a - b).join()).toSorted(), plain(vectors, groups.length).map((group) => group.toSorted((a, b) => a - b).join()).toSorted());
});

test("few vectors, equal vectors and scaled vectors", () => {
  assert.deepEqual(groupsOf([[1, 0]]), [[0]]);
  assert.deepEqual(groupsOf([[1, 0], [0, 1]]), [[0, 1]]);
  assert.deepEqual(groupsOf(Array(5).fill([1, 2, 3])), [[0, 1, 2, 3, 4]]);
  assert.deepEqual(groupsOf([[1, 0], [50, 0.1], [0, 2], [0.01, 9]]).map((group) => group.toSorted()), [[0, 1], [2, 3]]);
  assert.ok(Math.abs(meanCosine([[1, 0], [3, 0], [0, 1]]) - 1 / 3) < 1e-9);
});

/**
 * The two clusters with the least mean distance are merged, until `count` are left.
 * @param {number[][]} vectors
 * @param {number} count
 */
function plain(vectors, count) {
  const cosine = (/** @type {number[]} */ a, /** @type {number[]} */ b) => a.reduce((sum, value, i) => sum + value * Number(b[i]), 0) / (Math.hypot(...a) * Math.hypot(...b));
  const distance = (/** @type {number} */ a, /** @type {number} */ b) => 1 - cosine(vectors[a] ?? [], vectors[b] ?? []);
  const clusters = [...vectors.keys()].map((index) => [index]);
  while (clusters.length > count) {
    let best = { a: 0, b: 1, mean: Infinity };
    for (const [a, first] of clusters.entries()) {
      for (const [b, second] of clusters.entries()) {
        if (b <= a) continue;
        const mean = first.flatMap((i) => second.map((j) => distance(i, j))).reduce((sum, value) => sum + value, 0) / (first.length * second.length);
        if (mean < best.mean) best = { a, b, mean };
      }
    }
    clusters[best.a]?.push(...(clusters[best.b] ?? []));
    clusters.splice(best.b, 1);
  }
  return clusters;
}
