// Weights -> the towers of a model: reads what they need of a file, in file order, and nothing else where its
// source gives parts.

import { ClipError } from "../shared/error.js";
import { limitsOf, requireRoom } from "../shared/limits.js";

/** @import { ClipEncoder, Sha256 } from "../../pkg/simd128/clip_wasm.js" */
/** @import { LimitOptions } from "../shared/limits.js" */
/** @import { Module } from "../engine/start-wasm.js" */
/** @import { Weights } from "../weights/sources.js" */

/** @typedef {"text" | "vision"} Tower */

/**
 * Bytes so far, and of how many; `null` where nobody says. Both never go back, and count what is read of the
 * file, whether it comes from a server or is kept already.
 * @typedef {object} Progress
 * @property {number} loaded
 * @property {number | null} total
 * @property {number | null} bytesPerSecond of late; `null` at the start
 * @property {number | null} secondsLeft
 */

/**
 * @typedef {object} LoadingOptions
 * @property {Tower[] | undefined} towers those that the file has, if absent
 * @property {Tower | undefined} first the tower that is to come before the other, where the file has both
 * @property {string | undefined} sha256 of the whole file
 * @property {Uint8Array | null} start the file's first bytes, which have been read already
 * @property {boolean} ignoreMemory whether to try what the device is not likely to have room for
 * @property {LimitOptions} limits
 * @property {(header: { weightsSize: number, fileSize: number }) => void} onHeader told what the weights take, in
 *   bytes of memory, and what the file holds, in bytes
 * @property {(progress: Progress) => void} onProgress
 * @property {AbortSignal} signal
 */

/** Memory beside the weights: the module itself, and the values of the layers. In bytes. */
const WORKING_MEMORY = 100e6;
/** Of the device's memory, what one page is likely to get. Where it is not told, 4 GB are supposed. */
const MEMORY_SHARE = 0.5;
const SUPPOSED_GIGABYTES = 4;
/** What WebAssembly can address. */
const MOST_MEMORY = 2 ** 32;
/** More than the header of most models; where one tower alone is wanted, what is asked for first. */
const HEADER_BYTES = 2 << 20;
/** Some bytes of a file belong to no tensor; where no more are missing than these, they are read for the hash's sake. */
const REMAINDER = 1 << 20;

/**
 * How far to ask for while the header is not complete.
 * @param {Tower[] | undefined} towers
 * @param {number} position
 */
export function headerEnd(towers, position) {
  return towers ? position + HEADER_BYTES : Infinity;
}

/**
 * With `first` there are two stages, that tower and the other; otherwise one. Each is given as soon as it has come.
 * @param {Module} module
 * @param {Weights} weights
 * @param {LoadingOptions} options
 * @returns {AsyncGenerator<ClipEncoder, void, void>}
 */
export async function* loadTowers(module, weights, { towers, first, start, sha256, ignoreMemory, limits, onHeader, onProgress, signal }) {
  const loader = new module.bindings.ModelLoader(limitsOf(module.bindings, limits), towers);
  const meter = new Meter(onProgress);
  /** @type {Sha256 | null} of a file that is read in one go; one that is not is read once more at the end */
  let hash = sha256 === undefined || weights.sha256 !== null || (first && weights.rereads) ? null : new module.bindings.Sha256();

  let position = 0;
  const take = (/** @type {Uint8Array | null} */ bytes) => {
    signal.throwIfAborted();
    if (!bytes) return false;
    position += bytes.length;
    requireRoom(module.bindings, bytes.length);
    loader.push(bytes);
    hash?.update(bytes);
    meter.add(bytes.length);
    return true;
  };
  const takePart = async (/** @type {number} */ from, /** @type {number} */ to) => {
    if (position !== from) loader.seek((position = from));
    while (position < to && take(await weights.read(position, to)));
  };

  meter.total = towers ? null : weights.size;
  meter.tell();
  for (let more = take(start); more && !loader.towers; ) {
    more = take(await weights.read(position, headerEnd(towers, position)));
  }
  const { towers: found, fileSize, residentSize } = loader;
  if (!found || !fileSize || !residentSize) {
    loader.finish(); // which says what is wrong
    throw new ClipError("truncated_model", `${weights.name} has no header; load it again`);
  }
  if (!ignoreMemory) refuseTooLarge(residentSize);
  const size = weights.size ?? fileSize;
  onHeader({ weightsSize: residentSize, fileSize: size });

  const missing = size - position - sum([...(loader.wanted() ?? [])]);
  const verifies = sha256 !== undefined && weights.sha256 === null && (missing < REMAINDER || weights.hasAll(position, size));
  if (!verifies) hash = null;
  const stages = first && !hash && found.length > 1 && found.includes(first) ? [first, undefined] : [undefined];
  const parts = stages.map((tower) => [...(loader.wanted(tower) ?? [])]);
  // What lies between the first one's parts is taken with them.
  if (parts[1]) parts[1] = without(parts[1], /** @type {number[]} */ (parts[0]));
  if (hash) parts[0] = [position, size];

  meter.total = meter.loaded + sum(parts.flat());
  for (const [index, places] of parts.entries()) {
    for (let i = 0; i < places.length; i += 2) await takePart(Number(places[i]), Number(places[i + 1]));
    const tower = stages[index];
    if (tower) yield loader.finishTower(tower);
  }
  if (verifies) await check(hash?.finish() ?? (await hashAll(module, weights, signal)), sha256, weights);
  yield loader.finish();
}

/**
 * The SHA-256 of a file that is kept, but for little of it.
 * @param {Module} module
 * @param {Weights} weights
 * @param {AbortSignal} signal
 */
async function hashAll(module, weights, signal) {
  const hash = new module.bindings.Sha256();
  for (let position = 0; ; ) {
    const bytes = await weights.read(position, Infinity);
    signal.throwIfAborted();
    if (!bytes) return hash.finish();
    hash.update(bytes);
    position += bytes.length;
  }
}

/**
 * @param {string} found
 * @param {string} expected
 * @param {Weights} weights
 */
async function check(found, expected, weights) {
  if (found !== expected.toLowerCase()) {
    throw new ClipError("corrupt_model", `${weights.name} is damaged: its SHA-256 is ${found} where ${expected} is expected; load it again`);
  }
  await weights.verify(found);
}

/** @param {number} weightsSize bytes */
export function refuseTooLarge(weightsSize) {
  const { deviceMemory = SUPPOSED_GIGABYTES } = /** @type {{ deviceMemory?: number }} */ (navigator);
  const need = weightsSize + WORKING_MEMORY;
  const room = Math.min(deviceMemory * 2 ** 30 * MEMORY_SHARE, MOST_MEMORY);
  if (need <= room) return;
  const gigabytes = (/** @type {number} */ bytes) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new ClipError(
    "low_memory",
    `this model takes ${gigabytes(need)} of memory, and this device is not likely to give a page more than ${gigabytes(room)}; ` +
      "choose a smaller model or type, such as q4_0",
  );
}

/**
 * @param {number[]} parts `from, to, from, to, …`
 * @param {number[]} others
 * @returns {number[]} what of the parts is in none of the others
 */
function without(parts, others) {
  const rest = [];
  for (let i = 0; i < parts.length; i += 2) {
    let [from, to] = /** @type {[number, number]} */ ([parts[i], parts[i + 1]]);
    for (let j = 0; j < others.length; j += 2) {
      const [start, end] = /** @type {[number, number]} */ ([others[j], others[j + 1]]);
      if (end <= from || start >= to) continue;
      if (start > from) rest.push(from, start);
      from = Math.min(end, to);
    }
    if (from < to) rest.push(from, to);
  }
  return rest;
}

/** @param {number[]} parts `from, to, from, to, …` */
function sum(parts) {
  return parts.reduce((total, place, i) => total + (i % 2 ? place : -place), 0);
}

/** Milliseconds over which the speed is measured. */
const SPEED_WINDOW = 3000;

export class Meter {
  #tell;
  /** @type {{ time: number, loaded: number }[]} */
  #samples = [];
  loaded = 0;
  /** @type {number | null} */
  total = null;

  /** @param {(progress: Progress) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {number} bytes */
  add(bytes) {
    this.loaded += bytes;
    if (this.total !== null && this.loaded > this.total) this.total = null;
    this.tell();
  }

  tell() {
    const now = performance.now();
    this.#samples.push({ time: now, loaded: this.loaded });
    while (this.#samples.length > 2 && now - Number(this.#samples[1]?.time) > SPEED_WINDOW) this.#samples.shift();
    const { time, loaded } = /** @type {{ time: number, loaded: number }} */ (this.#samples[0]);
    const seconds = (now - time) / 1000;
    const bytesPerSecond = seconds > 0.2 ? (this.loaded - loaded) / seconds : null;
    const secondsLeft = bytesPerSecond && this.total !== null ? (this.total - this.loaded) / bytesPerSecond : null;
    this.#tell({ loaded: this.loaded, total: this.total, bytesPerSecond, secondsLeft });
  }
}
