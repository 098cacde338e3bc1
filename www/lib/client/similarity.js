// Vectors held against one another.

import { ClipError } from "../shared/error.js";
import { typeOf } from "./inputs.js";

/** @typedef {number[] | Float32Array} Vector */

/**
 * The cosine of two vectors, in -1 to 1; 0 where one of them has no direction. They need not have unit length.
 * Of two lists of vectors, all cosines: a row for each of `a`, a column for each of `b`.
 *
 * Throws a {@link ClipError}: `empty_input` for a list or a vector of nothing, `invalid_input` for what is no
 * vector and for vectors that differ in length, as those of different models do.
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
    throw new ClipError("invalid_input", "one is a vector and the other a list of vectors; put the one in a list, too");
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

/** @param {unknown} value a vector or a list of vectors, as far as it can be told */
function requireSome(value) {
  if (!Array.isArray(value) && !(value instanceof Float32Array)) {
    throw new ClipError("invalid_input", `expected a vector or a list of vectors, but got ${typeOf(value)}`);
  }
  if (value.length === 0) throw new ClipError("empty_input", "there is no vector, or one without components, to compare");
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
    throw new ClipError("invalid_input", `vectors of ${length} and of ${other} components do not compare: are they of two models?`);
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
