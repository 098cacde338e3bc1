// Owns the wasm module and one model; turns a message into a call on it.
//   {id, method, params} -> {id, progress | warning | early}* -> {id, result} | {id, error: {code, message, statusCode}}
//   {alive: true} once, when the lock that is called as this worker is held
//   {requests: [URL, …]} for what it asks servers for, {thread: MessagePort} for each thread of the module
//   {id, abort: true} gives up on a call that listens for it

import { CONVERSION, checkpointKey, isCheckpoint, loadCheckpoint, openCheckpoint } from "./load-checkpoint.js";
import { decodeInBrowser } from "./browser-decode.js";
import { abortedError, ClipError } from "../shared/error.js";
import { isKept, Keeper } from "../store/local-copy.js";
import { checkLimit, requireRoom } from "../shared/limits.js";
import { headerEnd, loadTowers } from "./load-gguf.js";
import { startModule } from "../engine/start-wasm.js";
import { FileChanged } from "../weights/remote-file.js";
import { reportRequests } from "../shared/requests.js";
import { modelLock } from "../store/store.js";
import { keptWeights, openWeights } from "../weights/sources.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { ErrorMessage } from "../shared/error.js" */
/** @import { LimitOptions } from "../shared/limits.js" */
/** @import { Progress, Tower } from "./load-gguf.js" */
/** @import { Module } from "../engine/start-wasm.js" */
/** @import { Warning } from "../store/local-copy.js" */
/** @import { Weights } from "../weights/sources.js" */

/**
 * @typedef {object} LoadParams
 * @property {string | Blob | File[]} source
 * @property {string} type that a checkpoint is converted to
 * @property {"gelu" | "quick_gelu"} [activation] of a checkpoint, where its configuration is wrong
 * @property {Tower[]} [towers]
 * @property {Tower} [first] to be told of as soon as it has come, before the others
 * @property {number} [size]
 * @property {string} [sha256]
 * @property {string[]} mirrors
 * @property {boolean} keep
 * @property {number} idleTimeout
 * @property {number} threads
 * @property {boolean} ignoreMemory
 * @property {LimitOptions} limits of the model, and of what it is given
 */

/**
 * Where a model comes from.
 * @typedef {object} Origin
 * @property {number | null} size bytes of its GGUF, of one that was converted here too
 * @property {string | null} sha256 of its file, where one was asked for and found right, now or at an earlier visit
 * @property {string | null} source the URL it was loaded from
 */

/** @typedef {import("../../pkg/simd128/clip_wasm.js").ModelInfo & Origin} ModelInfo */

/**
 * The tokens of a text.
 * @typedef {object} TokenizedText
 * @property {number[]} ids as they are embedded: start and end included, unpadded, cut off at the context's length
 * @property {number} count how many the whole text has, start and end included
 * @property {boolean} truncated whether the text is cut off
 */

/**
 * @typedef {object} Loaded
 * @property {ModelInfo} info
 * @property {number} threads
 * @property {{ memory: number, weights: number }} memory bytes that the module has, and of them those of the weights
 */

/**
 * @typedef {object} EmbedImageParams
 * @property {Blob | Uint8Array} image
 * @property {boolean} normalize
 * @property {"exif" | "ignore"} orientation
 * @property {"drop" | "white" | "black"} alpha
 */

/**
 * What a call can say before its result, and hear.
 * @typedef {object} Exchange
 * @property {(progress: Progress) => void} onProgress
 * @property {(warning: Warning) => void} onWarning
 * @property {(loaded: Loaded) => void} onEarly
 * @property {AbortSignal} signal
 */

/**
 * @typedef {object} Methods what the worker can be asked
 * @property {(params: LoadParams, exchange: Exchange) => Promise<Loaded>} load the first towers, or further ones
 * @property {(params: { text: string, normalize: boolean }) => Float32Array} embedText
 * @property {(params: EmbedImageParams) => Promise<Float32Array>} embedImage
 * @property {(params: { texts: string[] }) => TokenizedText[]} tokenize
 */

/** How often a file may change while it is read before it is given up. */
const CHANGES = 3;
/** Errors that say that the file is wrong, so that nothing of it is to be kept. */
const WRONG_FILE = ["not_a_model", "unsupported_model", "truncated_model", "malformed_model", "missing_tensor", "corrupt_model"];

/** @type {Module | null} started by the first `load` */
let module = null;
/** @type {ClipEncoder | null} set by the first `load`, which comes before every other message */
let encoder = null;
/** @type {LimitOptions} */
let limits = {};
/** Bytes of memory that the weights take, or will when all have come. */
let weightsSize = 0;
/** @type {Origin} */
const origin = { size: null, sha256: null, source: null };
/** @type {Map<number, AbortController>} */
const aborts = new Map();

/** @type {Methods} */
const methods = {
  async load(params, exchange) {
    await load(params, exchange);
    return loaded();
  },

  embedText({ text, normalize }) {
    checkText(text);
    return theEncoder().embedText(text, normalize);
  },

  async embedImage({ image, normalize, orientation, alpha }) {
    const size = image instanceof Blob ? image.size : image.length;
    checkLimit("imageBytes", size, "bytes of the image's file", limits);
    const bytes = image instanceof Blob ? await readBlob(image) : image;
    const encoder = theEncoder();
    requireRoom(theModule().bindings, size);
    try {
      return encoder.embedImage(bytes, normalize, orientation, alpha);
    } catch (error) {
      // What is decoded here, but not this kind of it, no browser makes the reference's pixels of.
      if (codeOf(error) !== "unsupported_image" || theModule().bindings.recognizesImage(bytes)) throw error;
      const pixels = await decodeInBrowser(new Blob([/** @type {BlobPart} */ (bytes)]), orientation, alpha);
      if (!pixels) throw error;
      requireRoom(theModule().bindings, pixels.data.length);
      return encoder.embedPixels(pixels, normalize, alpha);
    }
  },

  tokenize({ texts }) {
    const encoder = theEncoder();
    return texts.map((text) => {
      checkText(text);
      const tokens = encoder.tokenize(text);
      const { ids, count, truncated } = tokens;
      tokens.free();
      return { ids: [...ids], count, truncated };
    });
  },
};

self.addEventListener("message", async ({ data: { id, method, params, abort } }) => {
  if (abort) {
    aborts.get(id)?.abort();
    return;
  }
  const controller = new AbortController();
  aborts.set(id, controller);
  try {
    const result = await methods[/** @type {keyof Methods} */ (method)](params, {
      onProgress: (progress) => self.postMessage({ id, progress }),
      onWarning: (warning) => self.postMessage({ id, warning }),
      onEarly: (early) => self.postMessage({ id, early }),
      signal: controller.signal,
    });
    const transfer = result instanceof Float32Array ? [result.buffer] : [];
    self.postMessage({ id, result }, { transfer });
  } catch (error) {
    self.postMessage({ id, error: errorMessage(controller.signal.aborted ? abortedError(controller.signal) : error) });
  } finally {
    aborts.delete(id);
  }
});

/**
 * Whoever finds all that it wants kept reads it beside others; whoever has to fetch something is alone.
 * @param {LoadParams} params
 * @param {Exchange} exchange
 */
async function load(params, exchange) {
  const { source, keep } = params;
  limits = params.limits;
  if (typeof source !== "string" || !keep) return loadFrom(params, exchange);
  const { signal } = exchange;
  const key = keyOf(source, params);
  const done = await modelLock(key, { mode: "shared", signal }, async () => {
    const all = await isKept(key, params);
    if (all) await loadFrom(params, exchange);
    return all;
  });
  if (!done) await modelLock(key, { signal }, () => loadFrom(params, exchange));
}

/**
 * Anew where the file changes meanwhile; what is wrong is not kept.
 * @param {LoadParams} params
 * @param {Exchange} exchange
 */
async function loadFrom(params, exchange) {
  const { source } = params;
  origin.source = typeof source === "string" ? source : null;
  for (let changes = 0; ; changes++) {
    /** @type {Reading | null} */
    let reading = null;
    try {
      reading = await (isCheckpoint(source) ? openConversion(source, params, exchange) : openFile(source, params, exchange));
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
 * A model on its way.
 * @typedef {{ load: () => Promise<void>, discard: () => Promise<void>, close: () => Promise<void> }} Reading
 */

/**
 * @param {string | Blob} source
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @returns {Promise<Reading>}
 */
async function openFile(source, params, exchange) {
  return readingOf(await openWeights(source, { ...params, ...exchange }), params, exchange);
}

/**
 * @param {Weights} weights
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @returns {Reading}
 */
function readingOf(weights, params, exchange) {
  return {
    async load() {
      const start = weights.read(0, headerEnd(params.towers, 0));
      const fileSize = start.then(() => params.size ?? weights.size);
      fileSize.catch(() => {}); // it is the load's failure, below
      module ??= await openModule(params.threads, fileSize);
      const { towers, first, sha256, ignoreMemory, limits } = params;
      const options = { towers, first, sha256, ignoreMemory, limits, start: await start, onHeader, ...exchange };
      for await (const stage of loadTowers(module, weights, options)) {
        take(stage);
        if (first && theEncoder().info.towers.length === 1) exchange.onEarly(await loaded());
      }
      origin.sha256 = weights.sha256;
      await weights.complete(towers);
    },
    discard: () => weights.discard(),
    close: () => weights.close(),
  };
}

/**
 * @param {string | File[]} source
 * @param {LoadParams} params
 * @param {Exchange} exchange
 * @returns {Promise<Reading>}
 */
async function openConversion(source, params, exchange) {
  const key = typeof source === "string" ? keyOf(source, params) : "";
  const keeper = await Keeper.open(key, { ...params, ...exchange });
  const kept = keeper.about?.conversion;
  const isCurrent = kept?.version === CONVERSION;
  if (keeper.about?.whole && isCurrent) return readingOf(keptWeights(key, keeper), { ...params, sha256: undefined }, exchange);
  // A hash is of all the bytes, those of an earlier visit too, which are not there any more.
  const goesOn = isCurrent && !params.sha256;
  const checkpoint = await openCheckpoint(source, { ...params, ...exchange }, goesOn ? kept.etags : []);
  return {
    async load() {
      module ??= await openModule(params.threads, Promise.resolve(checkpoint.size));
      const { type, activation, towers, sha256, ignoreMemory, limits } = params;
      take(await loadCheckpoint(module, checkpoint, keeper, { type, activation, towers, sha256, ignoreMemory, limits, goesOn, onHeader, ...exchange }));
      origin.sha256 = sha256 ?? null;
    },
    discard: () => keeper.discard(),
    async close() {
      await Promise.all(checkpoint.files.map((file) => file.close()));
      await keeper.close();
    },
  };
}

/**
 * What a model is kept under.
 * @param {string} source
 * @param {LoadParams} params
 */
function keyOf(source, params) {
  return isCheckpoint(source) ? checkpointKey(source, params) : source;
}

/** @param {{ weightsSize: number, fileSize: number }} header */
function onHeader(header) {
  weightsSize += header.weightsSize;
  origin.size = header.fileSize;
}

/** @param {ClipEncoder} towers */
function take(towers) {
  if (encoder) encoder.add(towers);
  else encoder = towers;
}

/** @returns {Promise<Loaded>} */
async function loaded() {
  const { memory, threads } = theModule();
  return {
    info: { ...theEncoder().info, ...origin },
    threads: await threads(),
    memory: { memory: memory.buffer.byteLength, weights: weightsSize },
  };
}

// Held as long as this worker lives.
navigator.locks?.request(self.name, () => {
  self.postMessage({ alive: true });
  return new Promise(() => {});
}).catch(() => {}); // a frame without an origin of its own has none

reportRequests();

/** @param {string} text of which no character takes less than a byte, and none of UTF-16 more than three */
function checkText(text) {
  checkLimit("textBytes", text.length, "bytes of a text", limits);
  requireRoom(theModule().bindings, 3 * text.length);
}

function theModule() {
  return /** @type {Module} */ (module);
}

function theEncoder() {
  if (!encoder) throw new ClipError("internal", "no model is loaded");
  return encoder;
}

/**
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
async function openModule(threads, fileSize) {
  try {
    const module = await startModule(threads, fileSize);
    module.bindings.warmUp();
    return module;
  } catch (cause) {
    await fileSize; // whose failure is not the module's
    if (codeOf(cause) !== null) throw cause;
    throw new ClipError("worker_failed", `the WebAssembly module does not start: ${cause}`);
  }
}

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array>}
 */
async function readBlob(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const name = blob instanceof File ? blob.name : "the image";
    throw new ClipError("io", `${name} cannot be read: has it been moved or changed?`, { cause });
  }
}

/**
 * The code of an error of ours or of the wasm module's.
 * @param {unknown} error
 * @returns {string | null}
 */
function codeOf(error) {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}

/**
 * An error without a code of ours came out of the machinery: a wasm trap, after which the memory of
 * the instance can no longer be trusted, or a bug here. Either way this worker is done for.
 * @param {unknown} error
 * @returns {ErrorMessage}
 */
function errorMessage(error) {
  const code = codeOf(error);
  if (code === null) {
    return {
      code: "worker_failed",
      message: `the encoder stopped (${error}), perhaps for want of memory`,
      statusCode: 500,
    };
  }
  const { message, statusCode } = /** @type {Error & { statusCode: number }} */ (error);
  return { code, message, statusCode };
}
