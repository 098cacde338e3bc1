// Compares vectors.

import { ClipError } from "../shared/error.js";
import { kindOf } from "../shared/kinds.js";
import { typeOf } from "./inputs.js";

/** @typedef {number[] | Float32Array} Vector */

/**
 * The cosine of two vectors, from -1 to 1; 0 if one of them has length 0. They need not have unit length.
 * For two lists of vectors, all cosines: a row for each vector of `a`, a column for each vector of `b`.
 *
 * Throws a {@link ClipError}: `empty_input` for an empty list or vector, `invalid_input` for a value that is not a
 * vector, and for vectors of different lengths, which come from different models.
 * @overload
 * @param {Vector} a
 * @param {Vector} b
 * @returns {number}
 */
/**
 * @overload
 * @param {Vector[]} a
 * @param {Vector[]} b
 * @returns {number[][]}
 */
/**
 * @param {Vector | Vector[]} a
 * @param {Vector | Vector[]} b
 * @returns {number | number[][]}
 */
export function similarity(a, b) {
  requireSome(a);
  requireSome(b);
  if (!isList(a) && !isList(b)) return cosine(withNorm(a), withNorm(b));
  if (!isList(a) || !isList(b)) {
    throw new ClipError("invalid_input", "one argument is a vector and the other a list of vectors; put the vector in a list too");
  }
  const columns = b.map(withNorm);
  return a.map(withNorm).map((row) => columns.map((column) => cosine(row, column)));
}

/**
 * @param {Vector | Vector[]} value
 * @returns {value is Vector[]}
 */
function isList(value) {
  return typeof value[0] !== "number";
}

/** @param {unknown} value that should be a vector or a list of vectors */
function requireSome(value) {
  if (!Array.isArray(value) && kindOf(value) !== "Float32Array") {
    throw new ClipError("invalid_input", `expected a vector or a list of vectors, but got ${typeOf(value)}`);
  }
  if (/** @type {Vector} */ (value).length === 0) throw new ClipError("empty_input", "there is nothing to compare: a list or a vector is empty");
}

/**
 * @param {Vector} vector
 * @returns {{ vector: Vector, norm: number }}
 */
function withNorm(vector) {
  requireSome(vector);
  const norm = Math.sqrt(dot(vector, vector));
  if (!Number.isFinite(norm)) throw new ClipError("invalid_input", "a component of a vector is not a finite number");
  return { vector, norm };
}

/**
 * @param {{ vector: Vector, norm: number }} a
 * @param {{ vector: Vector, norm: number }} b
 */
function cosine(a, b) {
  const [length, other] = [a.vector.length, b.vector.length];
  if (length !== other) {
    throw new ClipError("invalid_input", `vectors of ${length} and ${other} components cannot be compared: do they come from different models?`);
  }
  return dot(a.vector, b.vector) / (a.norm * b.norm || 1);
}

/**
 * @param {Vector} a
 * @param {Vector} b of the same length
 */
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += /** @type {number} */ (a[i]) * /** @type {number} */ (b[i]);
  return sum;
}
