// How many inputs a worker is given at once. The module reads each weight once for all of them; but nothing else is
// answered meanwhile, and progress is reported only when all are done.

import { ClipError, errorOfInput } from "../shared/error.js";

/** @import { DeviceInfo, Outcome } from "../shared/protocol.js" */

const MOST_IMAGES = 4;
/** A GPU waits for every answer, so it is given more. */
const MOST_IMAGES_ON_GPU = 16;
const MOST_TEXTS = 32;
/** Characters of texts: about as many tokens as the module computes together. */
const MOST_CHARACTERS = 1600;

/**
 * @param {{ inPlace: boolean }} params if no worker computes, the caller's context is to stay responsive
 * @param {DeviceInfo} device
 */
export function imagesTogether({ inPlace }, device) {
  if (device.name === "webgpu") return MOST_IMAGES_ON_GPU;
  return inPlace ? 1 : MOST_IMAGES;
}

/**
 * @param {string[]} texts
 * @param {{ inPlace: boolean }} params
 * @returns {Generator<string[]>} all texts, in chunks that are embedded together
 */
export function* textChunks(texts, { inPlace }) {
  /** @type {string[]} */
  let chunk = [];
  let characters = 0;
  for (const text of texts) {
    const isFull = inPlace || chunk.length === MOST_TEXTS || characters + text.length > MOST_CHARACTERS;
    if (isFull && chunk.length > 0) {
      yield chunk;
      [chunk, characters] = [[], 0];
    }
    chunk.push(text);
    characters += text.length;
  }
  yield chunk;
}

/**
 * @param {Outcome} outcome
 * @returns {Float32Array | ClipError}
 */
export function resultOf(outcome) {
  if (ArrayBuffer.isView(outcome)) return outcome; // in the scripts of a Firefox extension, of another realm
  return new ClipError(outcome.code, outcome.message, outcome);
}

/**
 * @param {Outcome} outcome
 * @param {number} index of its input
 * @param {number} count of the inputs
 * @returns {Float32Array}
 */
export function vectorOf(outcome, index, count) {
  const result = resultOf(outcome);
  if (result instanceof ClipError) throw errorOfInput(result, index, count);
  return result;
}
