// Ranges of a file's bytes as flat lists, `from, to, from, to, …`, in file order: the form that the wasm module uses.

/**
 * @param {Iterable<number>} ranges
 * @returns {number} bytes in all of them
 */
export function bytesIn(ranges) {
  let total = 0;
  for (const [from, to] of pairs(ranges)) total += to - from;
  return total;
}

/**
 * @param {Iterable<number>} ranges
 * @returns {[from: number, to: number][]}
 */
export function pairs(ranges) {
  const flat = Array.from(ranges);
  return Array.from({ length: flat.length / 2 }, (_, i) => [Number(flat[2 * i]), Number(flat[2 * i + 1])]);
}

/**
 * @param {Iterable<number>} ranges
 * @param {Iterable<number>} others
 * @returns {number[]} the bytes of `ranges` that are in none of `others`
 */
export function without(ranges, others) {
  const rest = [];
  const taken = pairs(others);
  for (let [from, to] of pairs(ranges)) {
    for (const [start, end] of taken) {
      if (end <= from || start >= to) continue;
      if (start > from) rest.push(from, start);
      from = Math.min(end, to);
    }
    if (from < to) rest.push(from, to);
  }
  return rest;
}

/**
 * @param {Iterable<number>} ranges
 * @param {Iterable<number>} others
 * @returns {number[]} the bytes of `ranges` that are also in one of `others`
 */
export function common(ranges, others) {
  return without(ranges, without(ranges, others));
}

/**
 * @param {{ from: number, to: number }[]} parts sorted by their starts; they may touch and overlap
 * @returns {number[]} the same bytes as ranges that neither touch nor overlap
 */
export function merged(parts) {
  /** @type {number[]} */
  const ranges = [];
  for (const { from, to } of parts) {
    const end = Number(ranges.at(-1) ?? -1);
    if (from > end) ranges.push(from, to);
    else ranges[ranges.length - 1] = Math.max(end, to);
  }
  return ranges;
}
