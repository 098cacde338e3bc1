// A matrix of vectors of the same length, ranked by how near each is to another vector.

import { ClipError } from "../../clip.js";

/** Rows that a new matrix has room for. When it is full, the room doubles. */
const FIRST_ROWS = 256;

/**
 * Rows by descending score; for equal scores, the lower row first.
 * @typedef {object} Ranking
 * @property {Uint32Array} rows
 * @property {Float32Array} scores by row
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
   * Fails with `invalid_input` for a vector of another length.
   * @param {ArrayLike<number>} vector of unit length
   * @param {number} [row] whose vector it replaces; by default it is added as a new last row
   * @returns {number} the row
   */
  put(vector, row = this.count) {
    this.#requireLength(vector);
    const start = row * this.#dimension;
    if (start === this.#values.length) {
      const wider = new Float32Array(2 * start);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values.set(vector, start);
    this.count = Math.max(this.count, row + 1);
    return row;
  }

  /** @param {number} row */
  vector(row) {
    return this.#values.slice(row * this.#dimension, (row + 1) * this.#dimension);
  }

  /** Keeps only these rows, in the same order. @param {number[]} rows ascending */
  keepOnly(rows) {
    for (const [to, from] of rows.entries()) {
      const start = from * this.#dimension;
      this.#values.copyWithin(to * this.#dimension, start, start + this.#dimension);
    }
    this.count = rows.length;
  }

  /**
   * Ranks all rows. For unit vectors the score is the cosine.
   * @param {ArrayLike<number>} vector
   * @returns {Ranking}
   */
  rank(vector) {
    this.#requireLength(vector);
    const scores = this.#products(Float32Array.from(vector));
    const rows = Uint32Array.from(scores, (_, row) => row);
    rows.sort((a, b) => at(scores, b) - at(scores, a) || a - b);
    return { rows, scores };
  }

  /** @param {Float32Array} vector */
  #products(vector) {
    const [values, dimension] = [this.#values, this.#dimension];
    const scores = new Float32Array(this.count);
    for (let row = 0, start = 0; row < scores.length; row++, start += dimension) {
      let sum = 0;
      for (let i = 0; i < dimension; i++) sum += at(values, start + i) * at(vector, i);
      scores[row] = sum;
    }
    return scores;
  }

  /** @param {ArrayLike<number>} vector */
  #requireLength({ length }) {
    if (length === this.#dimension) return;
    throw new ClipError("invalid_input", `a vector has ${length} components, but the others have ${this.#dimension}; index the pictures again`);
  }
}

/**
 * @param {Float32Array} values
 * @param {number} index within them
 */
function at(values, index) {
  return /** @type {number} */ (values[index]);
}
