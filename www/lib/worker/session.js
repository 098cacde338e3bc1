// One model's life in its worker: loaded, perhaps in parts, from a file, a server or this device's storage; then asked
// for embeddings.

import { CONVERSION, checkpointKey, loadCheckpoint } from "./load-checkpoint.js";
import { headerEnd, loadTowers } from "./load-gguf.js";
import { requireRoom } from "../engine/module-inputs.js";
import { startTowers } from "../engine/start-towers.js";
import { ClipError, codeOf } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";
import { isKept, LocalCopy } from "../store/local-copy.js";
import { modelLock } from "../store/model-lock.js";
import { isCheckpoint, openCheckpoint } from "../weights/checkpoint-files.js";
import { FileChanged } from "../weights/remote-file.js";
import { openStored, openWeights } from "../weights/sources.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { Exchange, LimitOptions, Loaded, LoadParams, Origin, TokenizedText } from "../shared/protocol.js" */
/** @import { Weights } from "../weights/sources.js" */

/** How often a file may change while it is read, before the load fails. */
const CHANGES = 3;
/** Errors that say that the file is wrong, so that nothing of it may stay stored. */
const WRONG_FILE = ["not_a_model", "unsupported_model", "truncated_model", "malformed_model", "missing_tensor", "corrupt_model"];

/**
 * A load that is under way.
 * @typedef {{ load: () => Promise<void>, discard: () => Promise<void>, close: () => Promise<void> }} Reading
 */

export class Session {
  /** @type {Module | null} started by the first `load` */
  #module = null;
  /** @type {ClipEncoder | null} set by the first `load`, which precedes every other call */
  #encoder = null;
  /** @type {LimitOptions} */
  #limits = {};
  /** Bytes of memory that the weights take, or will take when all are loaded. */
  #weightsSize = 0;
  /** @type {Origin} */
  #origin = { size: null, sha256: null, source: null };

  /**
   * Loads the first towers, or further ones. Sessions that find everything stored read at the same time; a session that
   * has to fetch something has the model's storage to itself.
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Promise<Loaded>}
   */
  async load(params, exchange) {
    const { source, keep } = params;
    this.#limits = params.limits;
    if (typeof source !== "string" || !keep) {
      await this.#loadFrom(params, exchange);
      return this.#loaded();
    }
    const { signal } = exchange;
    const key = keyOf(source, params);
    const done = await modelLock(key, { mode: "shared", signal }, async () => {
      const all = await isKept(key, params);
      if (all) await this.#loadFrom(params, exchange);
      return all;
    });
    if (!done) await modelLock(key, { signal }, () => this.#loadFrom(params, exchange));
    return this.#loaded();
  }

  /**
   * @param {string} text
   * @param {boolean} normalize
   * @returns {Float32Array} `[embeddingDimension]`
   */
  embedText(text, normalize) {
    this.#checkText(text);
    return this.#theEncoder().embedText(text, normalize);
  }

  /**
   * @param {Uint8Array} pixels `[S, S, 3]`, RGB, as the pictures' module prepares them for this model
   * @param {boolean} normalize
   * @returns {Float32Array} `[embeddingDimension]`
   */
  embedSquare(pixels, normalize) {
    requireRoom(this.#theModule().bindings, pixels.length);
    return this.#theEncoder().embedSquare(pixels, normalize);
  }

  /**
   * @param {string[]} texts
   * @returns {TokenizedText[]}
   */
  tokenize(texts) {
    const encoder = this.#theEncoder();
    return texts.map((text) => {
      this.#checkText(text);
      const tokens = encoder.tokenize(text);
      const { ids, count, truncated } = tokens;
      tokens.free();
      return { ids: [...ids], count, truncated };
    });
  }

  /**
   * Frees the model's memory.
   * @param {boolean} isBroken whether the module has trapped
   */
  close(isBroken) {
    if (isBroken) this.#module?.replace();
    else this.#encoder?.free();
    this.#encoder = null;
  }

  /**
   * Loads again when the file changes on its server meanwhile; deletes stored bytes of an invalid file.
   * @param {LoadParams} params
   * @param {Exchange} exchange
   */
  async #loadFrom(params, exchange) {
    const { source } = params;
    this.#origin.source = typeof source === "string" ? source : null;
    for (let changes = 0; ; changes++) {
      /** @type {Reading | null} */
      let reading = null;
      try {
        reading = await (isCheckpoint(source) ? this.#openConversion(source, params, exchange) : this.#openFile(source, params, exchange));
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
   * @param {string | Blob} source
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Promise<Reading>}
   */
  async #openFile(source, params, exchange) {
    return this.#readingOf(await openWeights(source, { ...params, ...exchange }), params, exchange);
  }

  /**
   * @param {Weights} weights
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Reading}
   */
  #readingOf(weights, params, exchange) {
    const load = async () => {
      const start = weights.read(0, headerEnd(params.towers, 0));
      const fileSize = start.then(() => params.size ?? weights.size);
      fileSize.catch(() => {}); // `await start`, below, reports it
      const module = (this.#module ??= await openModule(params.threads, fileSize));
      const { towers, first, sha256, ignoreMemory, limits } = params;
      const options = { towers, first, sha256, ignoreMemory, limits, start: await start, onHeader: this.#onHeader, ...exchange };
      for await (const stage of loadTowers(module, weights, options)) {
        this.#take(stage);
        if (first && this.#theEncoder().info.towers.length === 1) exchange.onEarly(await this.#loaded());
      }
      this.#origin.sha256 = weights.sha256;
      await weights.complete(towers);
    };
    return { load, discard: () => weights.discard(), close: () => weights.close() };
  }

  /**
   * @param {string | File[]} source
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Promise<Reading>}
   */
  async #openConversion(source, params, exchange) {
    const key = typeof source === "string" ? keyOf(source, params) : "";
    const copy = await LocalCopy.open(key, { ...params, ...exchange });
    const kept = copy.about?.conversion;
    const isCurrent = kept?.version === CONVERSION;
    if (copy.about?.whole && isCurrent) return this.#readingOf(openStored(key, copy), { ...params, sha256: undefined }, exchange);
    // The hash needs all bytes of the checkpoint, but those that an earlier visit has read are not stored.
    const goesOn = isCurrent && !params.sha256;
    const checkpoint = await openCheckpoint(source, { ...params, ...exchange }, goesOn ? kept.etags : []);
    const load = async () => {
      const module = (this.#module ??= await openModule(params.threads, Promise.resolve(checkpoint.size)));
      const { type, activation, towers, sha256, ignoreMemory, limits } = params;
      const options = { type, activation, towers, sha256, ignoreMemory, limits, goesOn, onHeader: this.#onHeader, ...exchange };
      this.#take(await loadCheckpoint(module, checkpoint, copy, options));
      this.#origin.sha256 = sha256 ?? null;
    };
    const close = async () => {
      await Promise.all(checkpoint.files.map((file) => file.close()));
      await copy.close();
    };
    return { load, discard: () => copy.discard(), close };
  }

  #onHeader = (/** @type {{ weightsSize: number, fileSize: number }} */ header) => {
    this.#weightsSize += header.weightsSize;
    this.#origin.size = header.fileSize;
  };

  /** @param {ClipEncoder} towers */
  #take(towers) {
    if (this.#encoder) this.#encoder.add(towers);
    else this.#encoder = towers;
  }

  /** @returns {Promise<Loaded>} */
  async #loaded() {
    const { memory, threads } = this.#theModule();
    return {
      info: { ...this.#theEncoder().info, ...this.#origin },
      threads: await threads(),
      memory: { memory: memory.buffer.byteLength, weights: this.#weightsSize },
    };
  }

  /** @param {string} text whose UTF-8 form takes between one and three bytes for each unit of UTF-16 */
  #checkText(text) {
    checkLimit("textBytes", text.length, "bytes of a text", this.#limits);
    requireRoom(this.#theModule().bindings, 3 * text.length);
  }

  #theModule() {
    return /** @type {Module} */ (this.#module);
  }

  #theEncoder() {
    if (!this.#encoder) throw new ClipError("internal", "no model is loaded");
    return this.#encoder;
  }
}

/**
 * The key under which a model is stored.
 * @param {string} source
 * @param {LoadParams} params
 */
function keyOf(source, params) {
  return isCheckpoint(source) ? checkpointKey(source, params) : source;
}

/**
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
async function openModule(threads, fileSize) {
  try {
    const module = await startTowers(threads, fileSize);
    module.bindings.warmUp();
    return module;
  } catch (cause) {
    await fileSize; // if this fails, report its error: it is not the module's
    if (codeOf(cause) !== null) throw cause;
    throw new ClipError("worker_failed", `the WebAssembly module does not start: ${cause}`);
  }
}
