// A matrix of unit vectors: which rows are nearest to a query, and which are nearly the same.

import { environment } from "../../lib/shared/environment.js";
import { abortedError, ClipError } from "../../lib/shared/error.js";

/** Rows that a new matrix has room for. When it is full, the room doubles. */
const FIRST_ROWS = 256;
/** Rows are sorted by a number of 32 bits of score and this many of row. */
const ROW_BITS = 21;
const MOST_ROWS = 2 ** ROW_BITS;
/** Components after which a comparison may be given up. */
const STRETCH = 32;
/** Milliseconds of comparing between two looks for an abort. */
const SLICE = 40;

/**
 * A search: the vectors that a picture should be near to, and those that it should not.
 * @typedef {object} Terms
 * @property {Float32Array[]} wanted
 * @property {Float32Array[]} unwanted
 */

/**
 * Rows by descending score; for equal scores, the lower row first.
 * @typedef {object} Ranking
 * @property {Uint32Array} rows
 * @property {Float32Array} scores by row: the cosine if one vector is wanted; otherwise sums of standard deviations
 */

/**
 * Rows that are nearly the same.
 * @typedef {object} Duplicates
 * @property {number[][]} groups of two rows or more; rows are together if a chain of near ones connects them
 * @property {number[]} cosines of the rows, in the same order: with the nearest row of its group
 */

export class VectorMatrix {
  #dimension;
  /** `[rows, dimension]`, f32; rows from {@link VectorMatrix.count} on are not used yet. */
  #values;

  /** Number of vectors. */
  count = 0;

  /** @param {number} dimension of every vector */
  constructor(dimension) {
    this.#dimension = dimension;
    this.#values = new Float32Array(FIRST_ROWS * dimension);
  }

  /**
   * @param {number} row at most {@link count}: then it is a new one
   * @param {Float32Array} vectors of unit length, one after the other, for this row and those that follow it
   */
  put(row, vectors) {
    const start = row * this.#dimension;
    const end = start + vectors.length;
    if (end > MOST_ROWS * this.#dimension) throw new ClipError("limit_exceeded", `more than ${MOST_ROWS} pictures cannot be searched`);
    if (end > this.#values.length) {
      const wider = new Float32Array(Math.max(end, 2 * this.#values.length));
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values.set(vectors, start);
    this.count = Math.max(this.count, end / this.#dimension);
  }

  /**
   * @param {Uint32Array} rows
   * @returns {Float32Array} their vectors, one after the other
   */
  vectors(rows) {
    const vectors = new Float32Array(rows.length * this.#dimension);
    for (const [index, row] of rows.entries()) vectors.set(this.#row(row), index * this.#dimension);
    return vectors;
  }

  /** Keeps only these rows, in the same order. @param {Uint32Array} rows ascending */
  keepOnly(rows) {
    for (const [to, from] of rows.entries()) {
      const start = from * this.#dimension;
      this.#values.copyWithin(to * this.#dimension, start, start + this.#dimension);
    }
    this.count = rows.length;
  }

  /**
   * Ranks all rows. An image is about as near to every text, and nearer to every other image: so cosines of several
   * vectors cannot be summed as they are. Each is first measured in standard deviations from its mean over all rows. A
   * row that is farther from an unwanted vector than the mean is not better for it, unless nothing is wanted.
   * @param {Terms} terms at least one vector
   * @returns {Ranking}
   */
  rank({ wanted, unwanted }) {
    const [only] = wanted;
    if (only && wanted.length === 1 && unwanted.length === 0) return ranking(this.#products(only));
    const scores = new Float32Array(this.count);
    for (const vector of wanted) {
      const deviations = standardised(this.#products(vector));
      for (let row = 0; row < scores.length; row++) scores[row] = at(scores, row) + at(deviations, row);
    }
    const least = wanted.length > 0 ? 0 : -Infinity;
    for (const vector of unwanted) {
      const deviations = standardised(this.#products(vector));
      for (let row = 0; row < scores.length; row++) scores[row] = at(scores, row) - Math.max(least, at(deviations, row));
    }
    return ranking(scores);
  }

  /**
   * Finds rows that are nearly the same. It compares each row with each, so that its time grows with the square of their
   * number; but a pair of rows that are far apart takes only a fraction of their components.
   * @param {number} least cosine of two rows
   * @param {object} options
   * @param {(share: number) => void} options.onProgress with how much is done, from 0 to 1
   * @param {AbortSignal} options.signal
   * @returns {Promise<Duplicates>} the largest group first
   */
  async duplicates(least, { onProgress, signal }) {
    const count = this.count;
    const parents = Uint32Array.from({ length: count }, (_, row) => row);
    const nearest = new Float32Array(count).fill(-1);
    const root = (/** @type {number} */ row) => {
      while (at(parents, row) !== row) row = parents[row] = at(parents, at(parents, row));
      return row;
    };
    let sliceEnd = performance.now() + SLICE;
    for (let row = 1; row < count; row++) {
      for (let other = 0; other < row; other++) {
        const cosine = this.#cosineFrom(least, row, other);
        if (cosine < least) continue;
        parents[root(row)] = root(other);
        nearest[row] = Math.max(at(nearest, row), cosine);
        nearest[other] = Math.max(at(nearest, other), cosine);
      }
      if (performance.now() < sliceEnd) continue;
      onProgress((row / count) ** 2);
      await environment.wait(0); // messages come in meanwhile
      if (signal.aborted) throw abortedError(signal);
      sliceEnd = performance.now() + SLICE;
    }
    /** @type {Map<number, number[]>} */
    const groups = new Map();
    for (let row = 0; row < count; row++) {
      if (at(nearest, row) < least) continue;
      const group = groups.get(root(row));
      if (group) group.push(row);
      else groups.set(root(row), [row]);
    }
    const sorted = [...groups.values()].sort((a, b) => b.length - a.length || at(nearest, at(b, 0)) - at(nearest, at(a, 0)));
    return { groups: sorted, cosines: sorted.flat().map((row) => at(nearest, row)) };
  }

  /** @param {number} row */
  #row(row) {
    return this.#values.subarray(row * this.#dimension, (row + 1) * this.#dimension);
  }

  /**
   * The cosine of two rows, or -1 if it is certainly below `least`. Of unit vectors, it is 1 - d² / 2, where d is their
   * distance, whose square only grows with every component.
   * @param {number} least
   * @param {number} a
   * @param {number} b
   */
  #cosineFrom(least, a, b) {
    const [values, dimension] = [this.#values, this.#dimension];
    const [startA, startB] = [a * dimension, b * dimension];
    const most = 2 * (1 - least) + 1e-6;
    let square = 0;
    for (let from = 0; from < dimension; from += STRETCH) {
      const to = Math.min(from + STRETCH, dimension);
      for (let i = from; i < to; i++) {
        const difference = at(values, startA + i) - at(values, startB + i);
        square += difference * difference;
      }
      if (square > most) return -1;
    }
    return 1 - square / 2;
  }

  /**
   * @param {Float32Array} vector
   * @returns {Float32Array} its product with each row
   */
  #products(vector) {
    const [values, dimension] = [this.#values, this.#dimension];
    const scores = new Float32Array(this.count);
    const whole = dimension - (dimension % 4);
    for (let row = 0, start = 0; row < scores.length; row++, start += dimension) {
      // Four sums, because a processor adds to one only every few cycles.
      let a = 0, b = 0, c = 0, d = 0;
      for (let i = 0; i < whole; i += 4) {
        a += at(values, start + i) * at(vector, i);
        b += at(values, start + i + 1) * at(vector, i + 1);
        c += at(values, start + i + 2) * at(vector, i + 2);
        d += at(values, start + i + 3) * at(vector, i + 3);
      }
      for (let i = whole; i < dimension; i++) a += at(values, start + i) * at(vector, i);
      scores[row] = a + b + (c + d);
    }
    return scores;
  }
}

/**
 * @param {Float32Array} scores by row
 * @returns {Ranking}
 */
function ranking(scores) {
  // Numbers are sorted without a call for each comparison, which takes a tenth of the time.
  const bits = new Int32Array(scores.buffer);
  const keys = new Float64Array(scores.length);
  for (let row = 0; row < keys.length; row++) {
    const pattern = at(bits, row);
    // The bits of floats in the order of their values: those of negative ones run the other way.
    const ascending = (pattern < 0 ? ~pattern : pattern | 0x80000000) >>> 0;
    keys[row] = (0xffffffff - ascending) * MOST_ROWS + row;
  }
  keys.sort();
  const rows = new Uint32Array(keys.length);
  for (let place = 0; place < rows.length; place++) rows[place] = at(keys, place) % MOST_ROWS;
  return { rows, scores };
}

/**
 * @param {Float32Array} scores are changed
 * @returns {Float32Array} in standard deviations from their mean; 0 if all are equal
 */
function standardised(scores) {
  let sum = 0;
  for (let row = 0; row < scores.length; row++) sum += at(scores, row);
  const mean = sum / scores.length;
  let squares = 0;
  for (let row = 0; row < scores.length; row++) squares += (at(scores, row) - mean) ** 2;
  const deviation = Math.sqrt(squares / scores.length);
  for (let row = 0; row < scores.length; row++) scores[row] = deviation > 0 ? (at(scores, row) - mean) / deviation : 0;
  return scores;
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} index within them
 */
function at(values, index) {
  return /** @type {number} */ (values[index]);
}
