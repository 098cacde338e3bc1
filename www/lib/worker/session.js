// One model's life in its worker: loaded, perhaps in parts; then asked for embeddings; on a GPU, loaded again when that
// fails.

import { isFault, isOnGpu, notOnGpu, reasonOf, watched } from "./gpu-faults.js";
import { errorMessage } from "./message-loop.js";
import { Place } from "./place.js";
import { nameOf, readModel } from "./reading.js";
import { refuseTooLarge } from "./refuse-too-large.js";
import { requireRoom } from "../engine/module-inputs.js";
import { findAdapter, startGpu } from "../engine/start-gpu.js";
import { openTowers, usableThreads } from "../engine/start-towers.js";
import { ClipError, codeOf } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";
import { TOWERS } from "../shared/towers.js";
import { onAbort } from "../shared/waiting.js";
import { gpuVerdict } from "../store/gpu-verdicts.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "../engine/start-gpu.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { DeviceInfo, Exchange, LimitOptions, Loaded, LoadParams, Origin, Outcome, TokenizedText, Tower } from "../shared/protocol.js" */
/** @import { Header } from "./load-gguf.js" */
/** @import { Taken } from "./reading.js" */

/** Inputs after which the GPU is compared with the processor's vectors again: some drivers become wrong while they run. */
const CHECK_EVERY = 1000;
/** Inputs that a check computes, in time. */
const CHECKED = 12;
/** Why a load is interrupted when a call finds that the GPU has failed. */
const REPLACED = new ClipError("internal", "the GPU has failed meanwhile");

export class Session {
  /** @type {Module | GpuModule | null} */
  #module = null;
  /** @type {LoadParams | null} of the first `load` */
  #params = null;
  /** Of the GPU, if one is to compute. @type {Promise<GPUAdapter | null> | null} */
  #adapter = null;
  /** Whether a device of the GPU has been lost, and replaced. */
  #hasLostGpu = false;
  /** Inputs that the GPU has computed since it was compared with the processor. */
  #unchecked = 0;
  /** Calls that a GPU computes now. Until they settle, the encoder must not be changed or freed. @type {Set<Promise<unknown>>} */
  #running = new Set();
  /** Resolves when a GPU that has failed has given its memory back. */
  #dropping = Promise.resolve();
  /** Of what replaces a model on a GPU that has failed. @type {Promise<void> | null} */
  #restoring = null;
  /** Interrupts the load that is under way. @type {AbortController | null} */
  #interrupt = null;
  /** Settles when all loads that were asked for have ended. @type {Promise<unknown>} */
  #loads = Promise.resolve();
  /** @type {ClipEncoder | null} `null` until the first load, and while a model is loaded again */
  #encoder = null;
  /** The towers that are loaded, also while they are loaded again. @type {Tower[]} */
  #towers = [];
  /** What distinguishes the model from others. */
  #identity = "";
  /** Why there is no model any more. @type {ClipError | null} */
  #lost = null;
  /** @type {LimitOptions} */
  #limits = {};
  /** Bytes of memory that the weights take, or will take when all are loaded. */
  #weightsSize = 0;
  /** Of the files that the towers are from, as far as their server told it. @type {string | null} */
  #etag = null;
  /** @type {Origin} */
  #origin = { size: null, sha256: null, source: null };

  /**
   * Loads the first towers, or further ones. Loads run one at a time: each counts what the one before has left.
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Promise<Loaded>}
   */
  load(params, exchange) {
    const load = this.#loads.then(() => this.#loadNow(params, exchange));
    this.#loads = load.catch(() => {});
    return load;
  }

  /**
   * @param {LoadParams} params
   * @param {Exchange} exchange
   * @returns {Promise<Loaded>}
   */
  async #loadNow(params, exchange) {
    exchange.signal.throwIfAborted();
    if (!this.#params) {
      this.#params = params;
      if (params.device !== "wasm") this.#adapter = findAdapter();
    }
    this.#limits = params.limits;
    const named = params.first ? TOWERS : params.towers;
    for (;;) {
      await this.#ready(exchange);
      const further = this.#towers.length > 0 ? named?.filter((tower) => !this.#towers.includes(tower)) : undefined;
      if (further?.length === 0) return this.#loaded();
      const wanted = further ? { ...params, first: undefined, towers: further } : params;
      const interrupt = new AbortController();
      const forget = onAbort(exchange.signal, () => interrupt.abort(exchange.signal.reason));
      this.#interrupt = interrupt;
      const before = { towers: this.#towers, weightsSize: this.#weightsSize };
      const onHeader = (/** @type {Header} */ header) => this.#onHeader(header, before.weightsSize, wanted);
      const target = new Place(this.#start, this.#take, onHeader, this.#origin, wanted, exchange);
      try {
        await readModel(wanted, { ...exchange, signal: interrupt.signal }, target);
        return await this.#loaded();
      } catch (error) {
        this.#weightsSize = this.#towers === before.towers ? before.weightsSize : this.#weightsSize - target.left;
        if (exchange.signal.aborted) throw error;
        if (interrupt.signal.reason !== REPLACED) this.#dropGpu(target.module, error, exchange);
      } finally {
        this.#interrupt = null;
        forget();
      }
    }
  }

  /**
   * Embeds texts together, so that each weight is read once for all.
   * @param {string[]} texts
   * @param {boolean} normalize
   * @param {Exchange} exchange
   * @returns {Promise<Outcome[]>}
   */
  async embedTexts(texts, normalize, exchange) {
    return this.#compute(texts.length, exchange, (encoder) => {
      this.#checkTexts(texts);
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
    return this.#compute(squares.length, exchange, (encoder) => {
      requireRoom(this.#theModule().bindings, squares.reduce((sum, { length }) => sum + length, 0));
      return isOnGpu(encoder) ? encoder.embedSquaresAsync(squares, normalize) : encoder.embedSquares(squares, normalize);
    });
  }

  /**
   * @param {string[]} texts
   * @param {Exchange} exchange
   * @returns {Promise<TokenizedText[]>}
   */
  async tokenize(texts, exchange) {
    await this.#ready(exchange);
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
    this.#lost ??= new ClipError("closed", "the encoder is closed");
    free(this.#module, this.#encoder, isBroken);
    [this.#module, this.#encoder] = [null, null];
  }

  /**
   * Computes, on whatever the model is on. If a GPU fails meanwhile, the model is loaded again, and all is repeated.
   * @param {number} inputs how many
   * @param {Exchange} exchange
   * @param {(encoder: ClipEncoder) => (Float32Array | Error)[] | Promise<(Float32Array | Error)[]>} run
   * @returns {Promise<Outcome[]>}
   */
  async #compute(inputs, exchange, run) {
    for (;;) {
      await this.#ready(exchange);
      const module = this.#theModule();
      const attempt = this.#attempt(module, inputs, exchange, run);
      const settled = attempt.catch(() => {}).finally(() => this.#running.delete(settled));
      this.#running.add(settled);
      try {
        return (await attempt).map((result) => (result instanceof Float32Array ? result : errorMessage(result)));
      } catch (error) {
        this.#dropGpu(module, error, exchange);
      }
    }
  }

  /**
   * @param {Module | GpuModule} module
   * @param {number} inputs how many
   * @param {Exchange} exchange
   * @param {(encoder: ClipEncoder) => (Float32Array | Error)[] | Promise<(Float32Array | Error)[]>} run
   */
  async #attempt(module, inputs, { onTimes }, run) {
    const encoder = this.#theEncoder();
    const start = performance.now();
    const computed = run(encoder);
    const results = await ("gpu" in module ? watched(computed, inputs, module) : computed);
    onTimes({ tower: performance.now() - start, batch: inputs });
    if (!("gpu" in module)) return results;
    const fault = results.find((result) => result instanceof Error && codeOf(result) !== null && isFault(result));
    if (fault) throw fault;
    if (isOnGpu(encoder) && (this.#unchecked += inputs) >= CHECK_EVERY) {
      this.#unchecked = 0;
      await watched(encoder.checkGpu(), CHECKED, module);
    }
    return results;
  }

  /**
   * Waits for the model. If a GPU has failed, loads it again: on a new device if the old one was lost for the first time,
   * and otherwise for the processor. What fails then is tried again by the next call.
   * @param {Exchange} exchange
   */
  async #ready(exchange) {
    await this.#dropping;
    if (this.#lost) throw this.#lost;
    if (this.#encoder || this.#towers.length === 0) return;
    this.#restoring ??= this.#restore(exchange).finally(() => (this.#restoring = null));
    await this.#restoring;
  }

  /** @param {Exchange} exchange of the call that began it; others wait for it, so that its signal does not count */
  async #restore({ onWarning, onDevice }) {
    const params = { .../** @type {LoadParams} */ (this.#params), towers: this.#towers, first: undefined };
    const exchange = { onWarning, onDevice, onProgress: () => {}, onEarly: () => {}, onTimes: () => {}, signal: new AbortController().signal };
    const identity = this.#identity;
    while (!this.#encoder) {
      if (this.#lost) throw this.#lost;
      const target = new Place(this.#start, this.#take, (header) => this.#onHeader(header, 0, params), this.#origin, params, exchange);
      try {
        await readModel(params, exchange, target);
      } catch (error) {
        this.#dropGpu(target.module, error, exchange);
        await this.#dropping;
      }
    }
    if (this.#identity !== identity) {
      const lost = new ClipError("encoder_lost", "the GPU has failed, and another model is at this one's address now; load the model again");
      this.#lost = lost;
      this.close(false);
      throw lost;
    }
    const { device, threads, memory } = await this.#loaded();
    onDevice({ device, threads, memory });
  }

  /**
   * Gives a GPU up that has failed. Throws the error if it is of something else.
   * @param {Module | GpuModule | null} module that was used
   * @param {unknown} error
   * @param {Exchange} exchange
   */
  #dropGpu(module, error, { onWarning }) {
    if (!module || !("gpu" in module) || !isFault(error)) throw error;
    if (module !== this.#module) return; // another call has found it out
    const again = codeOf(error) === "gpu_lost" && !this.#hasLostGpu;
    this.#hasLostGpu ||= again;
    const encoder = this.#encoder;
    [this.#module, this.#encoder] = [null, null];
    this.#adapter = again ? findAdapter() : null;
    this.#interrupt?.abort(REPLACED);
    if (!again) onWarning(notOnGpu(reasonOf(error)));
    this.#dropping = (async () => {
      await Promise.allSettled(this.#running);
      free(module, encoder, codeOf(error) === null);
      // Memory may be there again tomorrow.
      if (again || codeOf(error) === "low_memory") return;
      const verdict = await this.#verdictOn(module.adapter);
      if (codeOf(error) === "gpu_unavailable") await verdict.refuse({ reason: reasonOf(error), isSlow: false });
      else await verdict.refuse({ reason: reasonOf(error), isSlow: true }, true);
    })().catch(() => {});
  }

  /**
   * The module, started by the first load, and after a GPU has failed.
   * @param {LoadParams} params
   * @param {Promise<number | null>} fileSize
   * @param {Exchange} exchange
   * @returns {Promise<Module | GpuModule>}
   */
  #start = async (params, fileSize, exchange) => {
    if (this.#module) return this.#module;
    if (this.#adapter) {
      const options = { insists: params.device === "webgpu", adapter: this.#adapter, verdictOn: this.#verdictOn, threads: usableThreads(params.threads) };
      const found = await startGpu(options);
      if ("module" in found) return (this.#module = found.module);
      this.#adapter = null;
      if (found.reason !== null) exchange.onWarning(notOnGpu(found.reason));
    }
    return (this.#module = await openTowers(params.threads, fileSize));
  };

  /** @param {string} adapter */
  #verdictOn = (adapter) => {
    const params = /** @type {LoadParams} */ (this.#params);
    return gpuVerdict(adapter, `${nameOf(params)}, ${usableThreads(params.threads)} threads`);
  };

  /**
   * @param {Header} header
   * @param {number} loaded bytes of memory that the weights take that were loaded before this load
   * @param {LoadParams} params
   */
  #onHeader({ weightsSize, fileSize }, loaded, { ignoreMemory }) {
    if (!ignoreMemory) refuseTooLarge(loaded + weightsSize);
    this.#weightsSize = loaded + weightsSize;
    this.#origin.size = fileSize;
  }

  /**
   * @param {Module | GpuModule} module that the towers are in
   * @param {ClipEncoder} towers
   * @param {Taken} about
   * @param {Exchange} exchange
   */
  #take = async (module, towers, { etag, isFirst }, exchange) => {
    if (isOnGpu(towers)) await watched(towers.checkGpu(), CHECKED, /** @type {GpuModule} */ (module));
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    if (module !== this.#module) throw REPLACED;
    // A file that changes during a load is read again: then the towers of the load itself are replaced.
    const stays = this.#encoder !== null && this.#towers.some((tower) => !towers.info.towers.includes(tower));
    if (stays && etag !== null && this.#etag !== null && etag !== this.#etag) {
      towers.free();
      throw new ClipError("missing_tower", "the model has changed on its server since its first tower was loaded; load it anew");
    }
    this.#etag = etag;
    if (this.#encoder) this.#encoder.add(towers);
    else this.#encoder = towers;
    const { info } = this.#encoder;
    this.#identity = identity(info);
    this.#towers = info.towers;
    if (isFirst && info.towers.length === 1) exchange.onEarly(await this.#loaded());
  };

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
    const module = this.#theModule();
    if ("gpu" in module) return { name: "webgpu", adapter: module.adapter, build: module.build, products: /** @type {DeviceInfo["products"]} */ (module.gpu.products) };
    return { name: "wasm", build: module.build, products: /** @type {DeviceInfo["products"]} */ (module.bindings.products()) };
  }

  /** @param {string[]} texts whose UTF-8 form takes between one and three bytes for each unit of UTF-16 */
  #checkTexts(texts) {
    for (const text of texts) checkLimit("textBytes", text.length, "bytes of a text", this.#limits);
    requireRoom(this.#theModule().bindings, texts.reduce((sum, { length }) => sum + 3 * length, 0));
  }

  #theModule = () => /** @type {Module | GpuModule} */ (this.#module);

  #theEncoder() {
    if (!this.#encoder) throw new ClipError("internal", "no model is loaded");
    return this.#encoder;
  }
}

/**
 * @param {Module | GpuModule | null} module
 * @param {ClipEncoder | null} encoder
 * @param {boolean} isBroken whether the module has trapped
 */
function free(module, encoder, isBroken) {
  if (isBroken) module?.replace();
  else encoder?.free();
  if (module && "gpu" in module && !isBroken) module.gpu.destroy();
}

/**
 * What distinguishes one model from another, whatever was loaded of it.
 * @param {ClipEncoder["info"]} info
 */
function identity({ towers, imageSize, patchSize, contextLength, vocabularySize, preprocessing, ...info }) {
  return JSON.stringify(info);
}
