// Checks the inputs of the public methods.

import { environment } from "../shared/environment.js";
import { ClipError } from "../shared/error.js";
import { isUrl, kindOf } from "../shared/kinds.js";

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
  try {
    return environment.absoluteUrl(url);
  } catch (cause) {
    throw new ClipError("invalid_input", `not a URL: ${url}`, { cause });
  }
}
