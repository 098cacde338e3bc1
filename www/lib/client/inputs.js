// Checks the inputs of the public methods.

import { environment } from "../shared/environment.js";
import { ClipError, errorOfInput } from "../shared/error.js";
import { isUrl, kindOf } from "../shared/kinds.js";
import { checkLimit } from "../shared/limits.js";

/** @import { LimitOptions } from "../shared/protocol.js" */

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
      throw new ClipError("invalid_input", `input ${index} is ${typeOf(input)}, not ${expected}`, { index });
    }
  }
}

/**
 * @param {unknown} texts
 * @param {LimitOptions} [limits] that the texts must be within, so that the error says which one is not
 */
export function requireTexts(texts, limits) {
  requireList(texts, (text) => typeof text === "string", "a string");
  if (!limits) return;
  const all = /** @type {string[]} */ (texts);
  for (const [index, text] of all.entries()) {
    try {
      checkLimit("textBytes", text.length, "bytes of a text", limits); // at least one for each unit of UTF-16
    } catch (error) {
      throw errorOfInput(/** @type {ClipError} */ (error), index, all.length);
    }
  }
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

const isFunction = (/** @type {unknown} */ value) => typeof value === "function";
/** Timers take no longer times. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;

/** What options have to be, apart from those with checks of their own. @type {Record<string, [isValid: (value: any) => boolean, expected: string]>} */
const OPTIONS = {
  signal: [(value) => kindOf(value) === "AbortSignal", "an AbortSignal, such as that of an AbortController"],
  onProgress: [isFunction, "a function"],
  onWarning: [isFunction, "a function"],
  onTimings: [isFunction, "a function"],
  normalize: [(value) => typeof value === "boolean", "true or false"],
  mirrors: [Array.isArray, "a list of URLs"],
  idleTimeout: [(value) => typeof value === "number" && value > 0 && value <= LONGEST_TIMEOUT, `a number of milliseconds from 1 to ${LONGEST_TIMEOUT}`],
};

/**
 * Checks the options of a public method that mean the same in all of them.
 * @template {object} Options
 * @param {Options} options
 * @returns {Options}
 */
export function requireOptions(options) {
  if (typeof options !== "object" || options === null) throw new ClipError("invalid_input", `the options are ${typeOf(options)}, not an object`);
  for (const [name, [isValid, expected]] of Object.entries(OPTIONS)) {
    const value = /** @type {Record<string, unknown>} */ (options)[name];
    if (value === undefined || isValid(value)) continue;
    const found = typeof value === "number" ? value : typeOf(value);
    throw new ClipError("invalid_input", `${name} is ${found}, not ${expected}`);
  }
  return options;
}

/**
 * @param {unknown} value
 * @returns {string} a noun phrase for an error message, such as "a list"
 */
export function typeOf(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return `a ${typeof value}`;
  const kind = kindOf(value);
  return `a value of type ${kind === "Object" ? (value.constructor?.name ?? kind) : kind}`;
}

/**
 * @param {unknown} url
 * @returns {string}
 */
export function absoluteUrl(url) {
  if (typeof url !== "string" && !isUrl(url)) {
    throw new ClipError("invalid_input", `expected a URL or a file, but got ${typeOf(url)}`);
  }
  // It would be the address of the page itself, or in Node the path of the current folder.
  if (String(url).trim() === "") throw new ClipError("invalid_input", "expected a URL or a file, but got an empty text");
  try {
    return environment.absoluteUrl(url);
  } catch (cause) {
    throw new ClipError("invalid_input", `not a URL: ${url}`, { cause });
  }
}
