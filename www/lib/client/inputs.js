// Checks the inputs of the public methods, and prepares them for a worker.

import { download, readBody } from "../shared/download.js";
import { ClipError } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";
import { environment } from "../shared/environment.js";
/** @import { LimitOptions } from "../shared/protocol.js" */


/** @typedef {Blob | Uint8Array | ArrayBuffer | URL | string} ImageSource a string is a URL; in Node, a URL or a path */

/**
 * @param {unknown} inputs
 * @param {(input: unknown) => boolean} isInput
 * @param {string} expected
 */
export function requireList(inputs, isInput, expected) {
  if (!Array.isArray(inputs)) {
    throw new ClipError("invalid_input", `expected a list, each input ${expected}, but got ${typeOf(inputs)}`);
  }
  if (inputs.length === 0) throw new ClipError("empty_input", "the list of inputs is empty");
  for (const [index, input] of inputs.entries()) {
    if (!isInput(input)) {
      throw new ClipError("invalid_input", `input ${index} is ${typeOf(input)}, not ${expected}`);
    }
  }
}

/** @param {unknown} texts */
export function requireTexts(texts) {
  requireList(texts, (text) => typeof text === "string", "a string");
}

/** @param {unknown} images */
export function requireImages(images) {
  requireList(images, isImageSource, "a File, a Blob, a URL, a Uint8Array or an ArrayBuffer");
}

/** @param {unknown} towers */
export function requireTowers(towers) {
  const isTower = (/** @type {unknown} */ tower) => tower === "text" || tower === "vision";
  requireList(towers, isTower, '"text" or "vision"');
}

/**
 * @param {string} name of the option
 * @param {unknown} value
 * @param {string[]} choices
 */
export function requireChoice(name, value, choices) {
  if (choices.some((choice) => choice === value)) return;
  const found = typeof value === "string" ? `"${value}"` : typeOf(value);
  throw new ClipError("invalid_input", `${name} is ${found}; choose one of ${choices.map((choice) => `"${choice}"`).join(", ")}`);
}

/**
 * @param {unknown} value
 * @returns {string} a noun phrase for an error message, such as "a list"
 */
export function typeOf(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? `a value of type ${value.constructor?.name ?? "object"}` : `a ${typeof value}`;
}

/** @param {unknown} input */
function isImageSource(input) {
  return (
    typeof input === "string" ||
    input instanceof URL ||
    input instanceof Blob ||
    input instanceof Uint8Array ||
    input instanceof ArrayBuffer
  );
}

/**
 * @param {ImageSource} source
 * @param {LimitOptions} limits
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<Blob | Uint8Array<ArrayBuffer>>} the caller's bytes are copied, so later changes to them have no
 *   effect
 */
export async function openImage(source, limits, signal) {
  if (source instanceof Blob) return environment.sendable(source);
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) return new Uint8Array(source).slice();
  const url = absoluteUrl(source);
  const check = (/** @type {number} */ bytes) => checkLimit("imageBytes", bytes, `bytes of ${url}`, limits);
  return readBody(await download(url, { signal }), url, check, signal);
}

/**
 * @param {unknown} url
 * @returns {string}
 */
export function absoluteUrl(url) {
  if (typeof url !== "string" && !(url instanceof URL)) {
    throw new ClipError("invalid_input", `expected a URL or a file, but got ${typeOf(url)}`);
  }
  try {
    return environment.absoluteUrl(url);
  } catch (cause) {
    throw new ClipError("invalid_input", `not a URL: ${url}`, { cause });
  }
}
