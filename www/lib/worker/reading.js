// Reads a model's file, or its checkpoint, into the towers of a session.

import { CONVERSION, checkpointKey, loadCheckpoint } from "./load-checkpoint.js";
import { headerEnd, loadTowers } from "./load-gguf.js";
import { ClipError, codeOf } from "../shared/error.js";
import { aboutKept, LocalCopy } from "../store/local-copy.js";
import { modelLock } from "../store/model-lock.js";
import { isCheckpoint, openCheckpoint } from "../weights/checkpoint-files.js";
import { FileChanged } from "../weights/remote-file.js";
import { etagOf, openStored, openWeights } from "../weights/sources.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { Exchange, LoadParams, Origin } from "../shared/protocol.js" */
/** @import { About } from "../store/kept-file.js" */
/** @import { Header } from "./load-gguf.js" */
/** @import { Weights } from "../weights/sources.js" */

/** How often a file may change while it is read, before the load fails. */
const CHANGES = 3;
/** Errors that say that the file is wrong, so that nothing of it may stay stored. */
const WRONG_FILE = ["not_a_model", "unsupported_model", "truncated_model", "malformed_model", "missing_tensor", "corrupt_model"];

/**
 * What is loaded into.
 * @typedef {object} Target
 * @property {(fileSize: Promise<number | null>) => Promise<Module>} open starts the module, unless it runs already
 * @property {(header: Header) => void} onHeader called when the file's header is read
 * @property {(towers: ClipEncoder, about: Taken) => Promise<void>} take adds towers that are loaded
 * @property {Origin} origin
 */

/**
 * What is known of towers that are loaded.
 * @typedef {object} Taken
 * @property {string | null} etag of the files that they are from, as far as their server told it
 * @property {boolean} isFirst whether one tower is loaded before the other
 * @property {number} left bytes of memory that the weights of the towers still to come take
 */

/**
 * A load that is under way.
 * @typedef {{ load: () => Promise<void>, discard: () => Promise<void>, close: () => Promise<void> }} Reading
 */

/**
 * Loads a model. Sessions that find everything stored read at the same time; a session that has to fetch something has
 * the model's storage to itself.
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @param {Target} target
 */
export async function readModel(params, exchange, target) {
  const { source, keep } = params;
  if (typeof source !== "string" || !keep) return readAgain(params, exchange, target);
  const { signal } = exchange;
  const key = keyOf(params);
  const done = await modelLock(key, { mode: "shared", signal }, async () => {
    const all = hasAll(await aboutKept(key), params);
    if (all) await readAgain(params, exchange, target);
    return all;
  });
  if (!done) await modelLock(key, { signal }, () => readAgain(params, exchange, target));
}

/**
 * Whether everything that a load needs is stored.
 * @param {About | null} about what is known of the stored file
 * @param {LoadParams} params
 */
function hasAll(about, { towers, sha256 }) {
  if (!about || (sha256 && about.sha256 !== sha256) || !isCurrent(about)) return false;
  return about.whole || (towers !== undefined && towers.every((tower) => about.towers.includes(tower)));
}

/** @param {About} about */
function isCurrent({ conversion }) {
  return !conversion || conversion.version === CONVERSION;
}

/**
 * The key under which a model is stored; empty for files, which are not.
 * @param {LoadParams} params
 */
function keyOf(params) {
  const { source } = params;
  if (typeof source !== "string") return "";
  return isCheckpoint(source) ? checkpointKey(source, params) : source;
}

/**
 * Tells a model from others: its key, or of files their names and sizes.
 * @param {LoadParams} params
 */
export function nameOf(params) {
  const files = [params.source].flat().map((file) => (typeof file === "string" ? "" : `${"name" in file ? file.name : "bytes"} of ${file.size}`));
  return keyOf(params) || files.join(", ");
}

/**
 * Reads again when the file changes on its server meanwhile; deletes stored bytes of an invalid file.
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @param {Target} target
 */
async function readAgain(params, exchange, target) {
  const { source } = params;
  target.origin.source = typeof source === "string" ? source : null;
  for (let changes = 0; ; changes++) {
    /** @type {Reading | null} */
    let reading = null;
    try {
      if (isCheckpoint(source)) reading = await openConversion(source, params, exchange, target);
      else reading = readingOf(await openWeights(source, { ...params, ...exchange }), params, exchange, target);
      await reading.load();
      return;
    } catch (error) {
      if (error instanceof FileChanged || WRONG_FILE.includes(codeOf(error) ?? "")) await reading?.discard();
      if (!(error instanceof FileChanged)) throw error;
      if (changes === CHANGES) throw new ClipError("network", "the model changes on its server while it is read; try again later");
    } finally {
      await reading?.close();
    }
  }
}

/**
 * @param {Weights} weights
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @param {Target} target
 * @returns {Reading}
 */
function readingOf(weights, params, exchange, target) {
  const load = async () => {
    const start = weights.read(0, headerEnd(params.towers, 0));
    const fileSize = start.then(() => params.size ?? weights.size);
    fileSize.catch(() => {}); // `await start`, below, reports it
    const module = await target.open(fileSize);
    const { towers, first, sha256, limits } = params;
    const options = { towers, first, sha256, limits, start: await start, onHeader: target.onHeader, ...exchange };
    for await (const { towers, left } of loadTowers(module, weights, options)) {
      await target.take(towers, { etag: weights.etag ?? null, isFirst: first !== undefined, left });
    }
    target.origin.sha256 = weights.sha256;
    await weights.complete(towers);
  };
  return { load, discard: () => weights.discard(), close: () => weights.close() };
}

/**
 * @param {string | File[]} source
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @param {Target} target
 * @returns {Promise<Reading>}
 */
async function openConversion(source, params, exchange, target) {
  const key = keyOf(params);
  const copy = await LocalCopy.open(key, { ...params, ...exchange });
  const { about } = copy;
  if (hasAll(about, params)) return readingOf(openStored(key, copy), { ...params, sha256: undefined }, exchange, target);
  // The hash needs all bytes of the checkpoint, but those that an earlier visit has read are not stored.
  const goesOn = about !== null && isCurrent(about) && !params.sha256;
  const checkpoint = await openCheckpoint(source, { ...params, ...exchange }, goesOn ? (about.conversion?.etags ?? []) : []);
  const load = async () => {
    const module = await target.open(Promise.resolve(checkpoint.size));
    const { type, activation, towers, sha256, limits } = params;
    const options = { type, activation, towers, sha256, limits, goesOn, onHeader: target.onHeader, ...exchange };
    const loaded = await loadCheckpoint(module, checkpoint, copy, options);
    await target.take(loaded, { etag: etagOf(checkpoint.files.map(({ etag = null }) => etag)), isFirst: false, left: 0 });
    target.origin.sha256 = sha256 ?? null;
  };
  const close = async () => {
    await Promise.all(checkpoint.files.map((file) => file.close()));
    await copy.close();
  };
  return { load, discard: () => copy.discard(), close };
}
