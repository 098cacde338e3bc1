// Groups vectors that are alike: average linkage, cut where the groups stand out most.

/** Groups that are tried at most: more are no help to a reader. */
const MOST_GROUPS = 24;

/**
 * A merge of average linkage: of two clusters, each named by one of its members.
 * @typedef {{ a: number, b: number, height: number }} Merge
 */

/**
 * Groups vectors by their cosines. Of all numbers of groups it takes the one with the largest mean silhouette (Rousseeuw
 * 1987), which says how much nearer each vector is to its own group than to the next one.
 * @param {number[][]} vectors of any length but zero
 * @returns {number[][]} indices into `vectors`; the largest group first, and those of one vector last
 */
export function groupsOf(vectors) {
  const count = vectors.length;
  if (count < 3) return [[...vectors.keys()]];
  const distances = distancesOf(vectors);
  const merges = mergesOf(distances.slice(), count).sort((a, b) => a.height - b.height);
  /** @type {number[][]} */
  let best = [[...vectors.keys()]];
  let most = 0;
  for (let groups = 2; groups <= Math.min(count - 1, MOST_GROUPS); groups++) {
    const cut = cutAt(merges, count, count - groups);
    const silhouette = silhouetteOf(cut, distances, count);
    if (silhouette > most) [best, most] = [cut, silhouette];
  }
  return best.sort((a, b) => b.length - a.length || at(a, 0) - at(b, 0));
}

/**
 * @param {number[][]} vectors
 * @returns {number} the mean cosine of all pairs
 */
export function meanCosine(vectors) {
  const distances = distancesOf(vectors);
  const count = vectors.length;
  return 1 - distances.reduce((sum, distance) => sum + distance, 0) / (count * (count - 1));
}

/**
 * @param {number[][]} vectors
 * @returns {Float64Array} `[count, count]`: 1 - cosine
 */
function distancesOf(vectors) {
  const units = vectors.map((vector) => {
    const norm = Math.hypot(...vector);
    return vector.map((value) => value / norm);
  });
  const count = units.length;
  const distances = new Float64Array(count * count);
  for (const [row, a] of units.entries()) {
    for (let column = 0; column < row; column++) {
      const b = /** @type {number[]} */ (units[column]);
      const distance = 1 - a.reduce((sum, value, i) => sum + value * at(b, i), 0);
      distances[row * count + column] = distances[column * count + row] = distance;
    }
  }
  return distances;
}

/**
 * Average linkage by a chain of nearest neighbours (Murtagh 1983): two clusters that are each other's nearest are merged.
 * @param {Float64Array} distances of clusters; changed here (Lance and Williams 1967)
 * @param {number} count
 * @returns {Merge[]}
 */
function mergesOf(distances, count) {
  const sizes = new Array(count).fill(1);
  /** @type {Merge[]} */
  const merges = [];
  /** @type {number[]} */
  const chain = [];
  while (merges.length < count - 1) {
    if (chain.length === 0) chain.push(sizes.findIndex((size) => size > 0));
    const last = at(chain, chain.length - 1);
    const before = chain.at(-2) ?? -1;
    let nearest = before;
    for (let other = 0; other < count; other++) {
      if (other === last || sizes[other] === 0) continue;
      // The one before wins a tie, or the chain could go round for ever.
      if (nearest === -1 || at(distances, last * count + other) < at(distances, last * count + nearest)) nearest = other;
    }
    if (nearest !== before) {
      chain.push(nearest);
      continue;
    }
    chain.length -= 2;
    merges.push({ a: last, b: nearest, height: at(distances, last * count + nearest) });
    const [own, added] = [sizes[last], sizes[nearest]];
    for (let other = 0; other < count; other++) {
      if (other === last || sizes[other] === 0) continue;
      const mean = (own * at(distances, last * count + other) + added * at(distances, nearest * count + other)) / (own + added);
      distances[last * count + other] = distances[other * count + last] = mean;
    }
    sizes[last] = own + added;
    sizes[nearest] = 0;
  }
  return merges;
}

/**
 * @param {Merge[]} merges the lowest first
 * @param {number} count of vectors
 * @param {number} done merges that are made
 * @returns {number[][]} indices of vectors, by group
 */
function cutAt(merges, count, done) {
  const parents = Array.from({ length: count }, (_, index) => index);
  const root = (/** @type {number} */ index) => {
    while (at(parents, index) !== index) index = at(parents, index);
    return index;
  };
  for (const { a, b } of merges.slice(0, done)) parents[root(b)] = root(a);
  /** @type {Map<number, number[]>} */
  const groups = new Map();
  for (let index = 0; index < count; index++) {
    const group = groups.get(root(index));
    if (group) group.push(index);
    else groups.set(root(index), [index]);
  }
  return [...groups.values()];
}

/**
 * @param {number[][]} groups
 * @param {Float64Array} distances
 * @param {number} count
 * @returns {number} the mean over all vectors; 0 for one that is a group by itself
 */
function silhouetteOf(groups, distances, count) {
  let sum = 0;
  for (const own of groups) {
    if (own.length === 1) continue;
    for (const index of own) {
      const mean = (/** @type {number[]} */ group) => group.reduce((sum, other) => sum + at(distances, index * count + other), 0);
      const within = mean(own) / (own.length - 1);
      const next = Math.min(...groups.filter((group) => group !== own).map((group) => mean(group) / group.length));
      sum += (next - within) / Math.max(next, within, Number.MIN_VALUE);
    }
  }
  return sum / count;
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} index within them
 */
function at(values, index) {
  return /** @type {number} */ (values[index]);
}
