// One model's life in its worker: loaded, perhaps in parts, from a file, a server or this device's storage; then asked
// for embeddings.

import { CONVERSION, checkpointKey, loadCheckpoint } from "./load-checkpoint.js";
import { isFault, isOnGpu, notOnGpu } from "./gpu-faults.js";
import { headerEnd, loadTowers } from "./load-gguf.js";
import { errorMessage } from "./message-loop.js";
import { requireRoom } from "../engine/module-inputs.js";
import { findAdapter, startGpu } from "../engine/start-gpu.js";
import { openTowers } from "../engine/start-towers.js";
import { ClipError, codeOf } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";
import { isKept, LocalCopy } from "../store/local-copy.js";
import { modelLock } from "../store/model-lock.js";
import { isCheckpoint, openCheckpoint } from "../weights/checkpoint-files.js";
import { FileChanged } from "../weights/remote-file.js";
import { gpuVerdict } from "../store/gpu-verdicts.js";
import { openStored, openWeights } from "../weights/sources.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "../engine/start-gpu.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { DeviceInfo, Exchange, LimitOptions, Loaded, LoadParams, Origin, Outcome, TokenizedText } from "../shared/protocol.js" */
/** @import { Weights } from "../weights/sources.js" */

/** How often a file may change while it is read, before the load fails. */
const CHANGES = 3;
/** Errors that say that the file is wrong, so that nothing of it may stay stored. */
const WRONG_FILE = ["not_a_model", "unsupported_model", "truncated_model", "malformed_model", "missing_tensor", "corrupt_model"];
/** Inputs after which the GPU is compared with the processor's vectors again: some drivers become wrong while they run. */
const CHECK_EVERY = 1000;

/**
 * A load that is under way.
 * @typedef {{ load: () => Promise<void>, discard: () => Promise<void>, close: () => Promise<void> }} Reading
 */

export class Session {
  /** @type {Module | GpuModule | null} started by the first `load` */
  #module = null;
  /** @type {LoadParams | null} of the last `load` */
  #params = null;
  /** Of the GPU, if one is to compute. @type {Promise<GPUAdapter | null> | null} */
  #adapter = null;
  /** Whether a device of the GPU has been lost, and replaced. */
  #hasLostGpu = false;
  /** Inputs that the GPU has computed since it was compared with the processor. */
  #unchecked = 0;
  /** The call that a GPU computes now. Until it settles, the encoder must not be changed or freed. @type {Promise<unknown>} */
  #running = Promise.resolve();
  /** Of the model that replaces one on a GPU that has failed. @type {Promise<void>} */
  #replacing = Promise.resolve();
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
    this.#params = params;
    if (params.device !== "wasm" && !this.#module) this.#adapter = findAdapter();
    try {
      await this.#load(params, exchange);
    } catch (error) {
      if (!this.#isGpuFault(error)) throw error;
      const towers = params.towers && [...new Set([...params.towers, ...(this.#encoder?.info.towers ?? [])])];
      await this.#replace({ ...params, towers }, /** @type {Error} */ (error), exchange);
    }
    return this.#loaded();
  }

  /**
   * @param {LoadParams} params
   * @param {Exchange} exchange
   */
  async #load(params, exchange) {
    const { source, keep } = params;
    this.#limits = params.limits;
    if (typeof source !== "string" || !keep) return this.#loadFrom(params, exchange);
    const { signal } = exchange;
    const key = keyOf(params);
    const done = await modelLock(key, { mode: "shared", signal }, async () => {
      const all = await isKept(key, params);
      if (all) await this.#loadFrom(params, exchange);
      return all;
    });
    if (!done) await modelLock(key, { signal }, () => this.#loadFrom(params, exchange));
  }

  /**
   * Embeds texts together, so that each weight is read once for all.
   * @param {string[]} texts
   * @param {boolean} normalize
   * @param {Exchange} exchange
   * @returns {Promise<Outcome[]>}
   */
  async embedTexts(texts, normalize, exchange) {
    return this.#compute(texts.length, exchange, () => {
      this.#checkTexts(texts);
      const encoder = this.#theEncoder();
      return isOnGpu(encoder) ? encoder.embedTextsAsync(texts, normalize) : encoder.embedTexts(texts, normalize);
    });
  }

  /**
   * Embeds pictures together, so that each weight is read once for all.
   * @param {Uint8Array[]} squares `[S, S, 3]` each, RGB, as the pictures' module prepares them for this model
   * @param {boolean} normalize
   * @param {Exchange} exchange
   * @returns {Promise<Outcome[]>}
   */
  async embedSquares(squares, normalize, exchange) {
    return this.#compute(squares.length, exchange, () => {
      requireRoom(this.#theModule().bindings, squares.reduce((sum, { length }) => sum + length, 0));
      const encoder = this.#theEncoder();
      return isOnGpu(encoder) ? encoder.embedSquaresAsync(squares, normalize) : encoder.embedSquares(squares, normalize);
    });
  }

  /**
   * @param {string[]} texts
   * @returns {Promise<TokenizedText[]>}
   */
  async tokenize(texts) {
    await this.#replacing;
    const encoder = this.#theEncoder();
    this.#checkTexts(texts);
    return texts.map((text) => {
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
    this.#gpuModule()?.gpu.destroy();
  }

  /**
   * Computes, on whatever the model is on. If a GPU fails meanwhile, the model is loaded again, and all is repeated.
   * @param {number} inputs how many
   * @param {Exchange} exchange
   * @param {() => (Float32Array | Error)[] | Promise<(Float32Array | Error)[]>} run
   * @returns {Promise<Outcome[]>}
   */
  async #compute(inputs, exchange, run) {
    for (;;) {
      await this.#replacing;
      const attempt = this.#attempt(inputs, run);
      this.#running = attempt.catch(() => {});
      try {
        return (await attempt).map((result) => (result instanceof Float32Array ? result : errorMessage(result)));
      } catch (error) {
        if (!this.#isGpuFault(error)) throw error;
        const towers = this.#theEncoder().info.towers;
        await this.#replace({ .../** @type {LoadParams} */ (this.#params), towers, first: undefined }, /** @type {Error} */ (error), exchange);
      }
    }
  }

  /**
   * @param {number} inputs how many
   * @param {() => (Float32Array | Error)[] | Promise<(Float32Array | Error)[]>} run
   */
  async #attempt(inputs, run) {
    const results = await run();
    const fault = results.find((result) => this.#isGpuFault(result));
    if (fault) throw fault;
    await this.#checkGpu(inputs);
    return results;
  }

  /** @param {number} inputs that have just been computed */
  async #checkGpu(inputs) {
    const encoder = this.#theEncoder();
    if (!isOnGpu(encoder) || (this.#unchecked += inputs) < CHECK_EVERY) return;
    this.#unchecked = 0;
    await encoder.checkGpu();
  }

  /** @param {unknown} error */
  #isGpuFault(error) {
    return this.#gpuModule() !== null && isFault(error);
  }

  /**
   * Loads the model again: on a new device of the GPU if the old one is lost for the first time, and otherwise for the
   * processor.
   * @param {LoadParams} params
   * @param {Error} fault of the GPU
   * @param {Exchange} exchange
   */
  async #replace(params, fault, exchange) {
    const { adapter = "" } = this.#gpuModule() ?? {};
    const again = codeOf(fault) === "gpu_lost" && !this.#hasLostGpu;
    this.#hasLostGpu ||= again;
    if (codeOf(fault) === "gpu_unavailable") {
      await (await gpuVerdict(adapter, keyOf(params))).refuse({ reason: fault.message, isSlow: false });
    }
    if (!again) exchange.onWarning(notOnGpu(fault.message));
    await this.#running;
    this.close(false);
    this.#module = null;
    this.#weightsSize = 0;
    this.#adapter = again ? findAdapter() : null;
    this.#replacing = this.#load(params, exchange);
    await this.#replacing.finally(() => (this.#replacing = Promise.resolve()));
    exchange.onDevice(this.#device());
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
      const module = await this.#open(params, fileSize, exchange);
      const { towers, first, sha256, ignoreMemory, limits } = params;
      const options = { towers, first, sha256, ignoreMemory, limits, start: await start, onHeader: this.#onHeader, ...exchange };
      for await (const stage of loadTowers(module, weights, options)) {
        await this.#take(stage);
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
    const key = keyOf(params);
    const copy = await LocalCopy.open(key, { ...params, ...exchange });
    const kept = copy.about?.conversion;
    const isCurrent = kept?.version === CONVERSION;
    if (copy.about?.whole && isCurrent) return this.#readingOf(openStored(key, copy), { ...params, sha256: undefined }, exchange);
    // The hash needs all bytes of the checkpoint, but those that an earlier visit has read are not stored.
    const goesOn = isCurrent && !params.sha256;
    const checkpoint = await openCheckpoint(source, { ...params, ...exchange }, goesOn ? kept.etags : []);
    const load = async () => {
      const module = await this.#open(params, Promise.resolve(checkpoint.size), exchange);
      const { type, activation, towers, sha256, ignoreMemory, limits } = params;
      const options = { type, activation, towers, sha256, ignoreMemory, limits, goesOn, onHeader: this.#onHeader, ...exchange };
      await this.#take(await loadCheckpoint(module, checkpoint, copy, options));
      this.#origin.sha256 = sha256 ?? null;
    };
    const close = async () => {
      await Promise.all(checkpoint.files.map((file) => file.close()));
      await copy.close();
    };
    return { load, discard: () => copy.discard(), close };
  }

  /**
   * The module, started by the first load.
   * @param {LoadParams} params
   * @param {Promise<number | null>} fileSize
   * @param {Exchange} exchange
   * @returns {Promise<Module>}
   */
  async #open(params, fileSize, exchange) {
    if (this.#module) return this.#module;
    if (this.#adapter) {
      const found = await startGpu({ insists: params.device === "webgpu", adapter: this.#adapter, verdictOn: (adapter) => gpuVerdict(adapter, keyOf(params)), threads: params.threads });
      if ("module" in found) return (this.#module = found.module);
      this.#adapter = null;
      if (found.reason !== null) exchange.onWarning(notOnGpu(found.reason));
    }
    return (this.#module = await openTowers(params.threads, fileSize));
  }

  #onHeader = (/** @type {{ weightsSize: number, fileSize: number }} */ header) => {
    this.#weightsSize += header.weightsSize;
    this.#origin.size = header.fileSize;
  };

  /** @param {ClipEncoder} towers */
  async #take(towers) {
    if (isOnGpu(towers)) await towers.checkGpu();
    await this.#running;
    if (this.#encoder) this.#encoder.add(towers);
    else this.#encoder = towers;
  }

  /** @returns {Promise<Loaded>} */
  async #loaded() {
    const { memory, threads } = this.#theModule();
    return {
      device: this.#device(),
      info: { ...this.#theEncoder().info, ...this.#origin },
      threads: await threads(),
      memory: { memory: memory.buffer.byteLength, weights: this.#weightsSize },
    };
  }

  /** @returns {DeviceInfo} */
  #device() {
    const gpuModule = this.#gpuModule();
    if (gpuModule) return { name: "webgpu", adapter: gpuModule.adapter, build: gpuModule.build, products: /** @type {DeviceInfo["products"]} */ (gpuModule.gpu.products) };
    const { bindings, build } = this.#theModule();
    return { name: "wasm", build, products: /** @type {DeviceInfo["products"]} */ (bindings.products()) };
  }

  /** The module, if it computes on a GPU. */
  #gpuModule() {
    return this.#module && "gpu" in this.#module ? this.#module : null;
  }

  /** @param {string[]} texts whose UTF-8 form takes between one and three bytes for each unit of UTF-16 */
  #checkTexts(texts) {
    for (const text of texts) checkLimit("textBytes", text.length, "bytes of a text", this.#limits);
    requireRoom(this.#theModule().bindings, texts.reduce((sum, { length }) => sum + 3 * length, 0));
  }

  #theModule = () => /** @type {Module} */ (this.#module);

  #theEncoder() {
    if (!this.#encoder) throw new ClipError("internal", "no model is loaded");
    return this.#encoder;
  }
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
