// Weights -> the towers of a model: reads the parts of a file that the towers need, in file order. If the source
// supports ranges, reads nothing else.

import { Meter } from "./progress.js";
import { limitsOf, newLoader, requireRoom } from "../engine/module-inputs.js";
import { ClipError } from "../shared/error.js";
import { bytesIn, pairs, without } from "../shared/ranges.js";

/** @import { ClipEncoder, Sha256 } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { LimitOptions, Progress, Tower } from "../shared/protocol.js" */
/** @import { Weights } from "../weights/sources.js" */

/**
 * Bytes of memory that the weights of the wanted towers take, and bytes of the file.
 * @typedef {{ weightsSize: number, fileSize: number }} Header
 */

/**
 * @typedef {object} LoadingOptions
 * @property {Tower[] | undefined} towers to load; if undefined, those that the file has
 * @property {Tower | undefined} first the tower to load before the other, if the file has both
 * @property {string | undefined} sha256 of the whole file
 * @property {Uint8Array | null} start the file's first bytes, which have been read already
 * @property {LimitOptions} limits
 * @property {(header: Header) => void} onHeader called when the header is read; throws if the weights take too
 *   much memory
 * @property {(progress: Progress) => void} onProgress
 * @property {AbortSignal} signal
 */

/** More than the header of most models. If only some towers are wanted, this much is requested at a time. */
const HEADER_BYTES = 2 << 20;
/** Some bytes of a file belong to no tensor. If at most this many are missing, they are read for the hash too. */
const REMAINDER = 1 << 20;

/**
 * How far to read ahead while the header is not complete.
 * @param {Tower[] | undefined} towers
 * @param {number} position
 */
export function headerEnd(towers, position) {
  return towers ? position + HEADER_BYTES : Infinity;
}

/**
 * With `first` there are two stages, that tower and the other; otherwise one. Yields each stage as soon as it is
 * loaded.
 * @param {Module} module
 * @param {Weights} weights
 * @param {LoadingOptions} options
 * @returns {AsyncGenerator<{ towers: ClipEncoder, left: number }, void, void>} `left`: bytes of memory
 *   that the weights take that are still to come
 */
export async function* loadTowers(module, weights, { towers, first, start, sha256, limits, onHeader, onProgress, signal }) {
  const loader = newLoader(module, limitsOf(module.bindings, limits), towers);
  const meter = new Meter(onProgress);
  /** @type {Sha256 | null} of a file that is read in one pass; otherwise the file is read once more at the end */
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
    loader.finish(); // throws the error that says what is wrong
    throw new ClipError("truncated_model", `${weights.name} has no header; load it again`);
  }
  const size = weights.size ?? fileSize;
  onHeader({ weightsSize: residentSize, fileSize: size });

  const missing = size - position - bytesIn(loader.wanted() ?? []);
  const verifies = sha256 !== undefined && weights.sha256 === null && (missing < REMAINDER || weights.hasAll(position, size));
  if (!verifies) hash = null;
  const stages = first && !hash && found.length > 1 && found.includes(first) ? [first, undefined] : [undefined];
  const parts = stages.map((tower) => weights.available([...(loader.wanted(tower) ?? [])]));
  // The first tower's ranges can include bytes of the other in between: these are not read twice.
  if (parts[1]) parts[1] = without(parts[1], /** @type {number[]} */ (parts[0]));
  if (hash) parts[0] = [position, size];

  meter.total = meter.loaded + bytesIn(parts.flat());
  for (const [index, places] of parts.entries()) {
    for (const [from, to] of pairs(places)) await takePart(from, to);
    const tower = stages[index];
    if (tower) yield { towers: loader.finishTower(tower), left: loader.residentSize ?? 0 };
  }
  if (verifies) await check(hash?.finish() ?? (await hashAll(module, weights, signal)), sha256, weights);
  yield { towers: loader.finish(), left: 0 };
}

/**
 * The SHA-256 of a file of which all, or nearly all, is stored.
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
