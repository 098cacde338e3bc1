// Keeps a model available: if its worker dies, another worker loads the same model and runs the calls that were queued.

import { workerScript } from "./start-worker.js";
import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { abortedError, asClipError, ClipError } from "../shared/error.js";
import { TOWERS } from "../shared/towers.js";
import { untilAborted } from "../shared/waiting.js";

/** @import { LoadParams, Loaded, Progress, Tower, Warning } from "../shared/protocol.js" */

/**
 * @typedef {object} LoadCallbacks
 * @property {(progress: Progress) => void} [onProgress]
 * @property {(warning: Warning) => void} [onWarning]
 * @property {(loaded: Loaded) => void} [onEarly]
 * @property {AbortSignal} [signal]
 */

/** Workers that may die one after the other, with no call answered between them. */
const MOST_DEATHS = 3;
/** Milliseconds to wait for a dead worker to free its memory: Chromium gives sleeping threads two seconds. */
const LONGEST_END = 3000;

export class RestartingWorker {
  #params;
  #onWarning;
  #connection;
  /** @type {Loaded | null} what is loaded, and what a replacement worker has to load */
  #loaded = null;
  /** @type {Tower[] | undefined} that are loaded; all of the file's, if undefined */
  #towers;
  #deaths = 0;
  /** How many inputs the running call has. */
  #inputs = 1;
  /** Whether the last death was of a call with several inputs. */
  #isExcused = false;
  /** @type {Promise<void>} resolves when the replacement worker has loaded the model; never rejects */
  #ready = Promise.resolve();
  /** @type {Promise<unknown>} of the last call in the queue */
  #last = Promise.resolve();
  #stopWaiting = () => {};
  /** @type {ClipError | null} why there will be no further worker */
  #ended = null;
  /** @type {(error: ClipError) => void} */
  #tellEnd = () => {};
  /** Resolves with the reason when there will be no further worker. @type {Promise<ClipError>} */
  over = new Promise((resolve) => (this.#tellEnd = resolve));

  /**
   * @param {LoadParams} params
   * @param {(warning: Warning) => void} onWarning called when a worker is replaced
   */
  constructor(params, onWarning) {
    this.#params = params;
    this.#onWarning = onWarning;
    this.#connection = this.#connect();
  }

  /** What computes now, and in how much memory; called after a tower is loaded. */
  get computes() {
    const { device, threads, memory } = /** @type {Loaded} */ (this.#loaded);
    return { device, threads, memory };
  }

  /** Settles when no worker is being replaced. */
  get ready() {
    return this.#ready;
  }

  /**
   * Loads the model; called once. If that fails before a tower is loaded, the worker is ended.
   * @param {LoadCallbacks} callbacks
   * @returns {Promise<Loaded>}
   */
  async open({ onEarly = () => {}, ...callbacks }) {
    const onProgress = neverBackwards(callbacks.onProgress);
    const takeEarly = (/** @type {Loaded} */ early) => {
      this.#take(early, early.info.towers);
      onEarly(early);
    };
    try {
      const loaded = await this.#connection.call("load", this.#params, { ...callbacks, onProgress, onEarly: takeEarly });
      return this.#take(loaded, this.#params.towers && loaded.info.towers);
    } catch (error) {
      if (this.#loaded && error instanceof WorkerDeath) {
        const { towers } = this.#loaded.info;
        return this.#loadMore(TOWERS.filter((tower) => !towers.includes(tower)), { ...callbacks, onProgress }, error.suspect);
      }
      const failure = error instanceof WorkerDeath ? new ClipError("worker_failed", `${error.message}; load the model again`) : asClipError(error);
      if (!this.#loaded && callbacks.signal?.aborted) {
        this.#ended = failure;
        this.#connection.leave(failure);
      } else if (!this.#loaded) this.end(failure);
      throw failure;
    }
  }

  /**
   * Loads further towers of the same file while calls go on. If the worker dies meanwhile, tries once more.
   * @param {Tower[]} towers
   * @param {LoadCallbacks & { ignoreMemory?: boolean }} options
   * @returns {Promise<Loaded>}
   */
  async loadTowers(towers, { ignoreMemory, ...callbacks }) {
    if (ignoreMemory) this.#params = { ...this.#params, ignoreMemory };
    return this.#loadMore(towers, { ...callbacks, onProgress: neverBackwards(callbacks.onProgress) }, false);
  }

  /**
   * Runs one call at a time, so that it is known which call killed a worker. Queued calls go to the next worker.
   * @param {string} method
   * @param {object} params
   * @param {object} [options]
   * @param {AbortSignal} [options.signal] ends the waiting; a call that has begun still runs to its end
   * @param {(times: any) => void} [options.onTimes]
   * @returns {Promise<any>}
   */
  async call(method, params, { signal, onTimes } = {}) {
    const answer = this.#last.then(() => this.#answer(method, params, signal, onTimes));
    this.#last = answer.catch(() => {});
    return untilAborted(answer, signal);
  }

  /**
   * Ends the worker, which frees the model's memory. Pending and later calls fail with `error`.
   * @param {ClipError} error
   */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#tellEnd(error);
    this.#stopWaiting();
    this.#connection.end(error);
  }

  /**
   * @param {string} method
   * @param {object} params
   * @param {AbortSignal} [signal]
   * @param {(times: any) => void} [onTimes]
   */
  async #answer(method, params, signal, onTimes) {
    for (;;) {
      await this.#untilReady(signal);
      try {
        this.#inputs = inputsOf(params);
        const result = await this.#connection.call(method, params, { onWarning: this.#onWarning, onDevice: this.#onDevice, onTimes });
        this.#deaths = 0;
        this.#isExcused = false;
        return result;
      } catch (error) {
        if (!(error instanceof WorkerDeath)) throw error;
        if (error.suspect) throw this.#failure(error);
      }
    }
  }

  /**
   * @param {Tower[]} towers
   * @param {LoadCallbacks} callbacks
   * @param {boolean} suspect whether this load may have killed a worker already
   * @returns {Promise<Loaded>}
   */
  async #loadMore(towers, callbacks, suspect) {
    for (;;) {
      await untilAborted(this.#untilReady(callbacks.signal), callbacks.signal);
      try {
        const loaded = await this.#connection.call("load", { ...this.#params, towers, first: undefined }, callbacks);
        return this.#take(loaded, loaded.info.towers);
      } catch (error) {
        if (!(error instanceof WorkerDeath)) throw error;
        if (error.suspect && suspect) throw this.#failure(error);
        suspect ||= error.suspect;
      }
    }
  }

  #onDevice = (/** @type {Pick<Loaded, "device" | "threads" | "memory">} */ { device, threads, memory }) => {
    if (this.#loaded) this.#loaded = { ...this.#loaded, device: Object.freeze(device), threads, memory: Object.freeze(memory) };
  };

  /** @param {AbortSignal} [signal] */
  async #untilReady(signal) {
    if (!signal?.aborted) await this.#ready;
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
  }

  /**
   * @param {Loaded} loaded
   * @param {Tower[] | undefined} towers
   */
  #take(loaded, towers) {
    this.#loaded = { ...loaded, memory: Object.freeze(loaded.memory) };
    this.#towers = towers;
    return loaded;
  }

  #connect() {
    return new WorkerConnection(workerScript("model", this.#params), (death) => this.#replace(death));
  }

  /** @param {WorkerDeath} death */
  #replace(death) {
    if (!this.#loaded) return; // nothing is loaded that another worker could load again
    // A call with several inputs is repeated with each of them, so that its own death counts only if another one follows.
    this.#isExcused = this.#inputs > 1 && !this.#isExcused;
    if (!this.#isExcused) this.#deaths++;
    if (this.#deaths > MOST_DEATHS) {
      this.#lose(`${death.message}, as did the ${MOST_DEATHS} workers before it`);
      return;
    }
    this.#ready = this.#restore(this.#connection, this.#loaded, death);
    const message = `${death.message}; another worker replaces it and loads the model again`;
    queueMicrotask(() => this.#onWarning({ code: "worker_replaced", message })); // apart, because it may throw
  }

  /**
   * @param {WorkerConnection} dead
   * @param {Loaded} wanted
   * @param {WorkerDeath} death
   */
  async #restore(dead, wanted, death) {
    // Two workers at once would need the memory twice.
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, LONGEST_END);
      this.#stopWaiting = () => resolve(clearTimeout(timer));
      dead.gone().then(this.#stopWaiting);
    });
    if (this.#ended) return;
    try {
      this.#connection = this.#connect();
      const params = { ...this.#params, towers: this.#towers, first: undefined };
      const loaded = /** @type {Loaded} */ (await this.#connection.call("load", params, { onWarning: this.#onWarning }));
      const { info } = loaded;
      if (identity(info) !== identity(wanted.info)) throw new Error("another model is at its address now");
      this.#onDevice(loaded);
    } catch (error) {
      if (this.#ended) return;
      if (error instanceof WorkerDeath) await this.#ready; // of the next replacement
      else this.#lose(`${death.message}, and the model could not be loaded again: ${/** @type {Error} */ (error).message}`, error);
    }
  }

  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  #lose(message, cause) {
    this.end(new ClipError("encoder_lost", `${message}; load the model again`, { cause }));
  }

  /**
   * @param {WorkerDeath} death
   * @returns {ClipError}
   */
  #failure({ message }) {
    return this.#ended ?? new ClipError("worker_failed", `${message}; the encoder restarts by itself, and the next call works: if an input causes this again, leave it out or make it smaller`);
  }
}

/**
 * @param {{ texts?: unknown[], squares?: unknown[] }} params
 * @returns {number}
 */
function inputsOf({ texts, squares }) {
  return (texts ?? squares)?.length ?? 1;
}

/**
 * What distinguishes one model from another. Size and hash are left out: they can depend on how it was loaded.
 * @param {Loaded["info"]} info
 */
function identity({ size, sha256, ...info }) {
  return JSON.stringify(info);
}

/**
 * Progress that does not go back when a load starts again.
 * @param {(progress: Progress) => void} [tell]
 * @returns {(progress: Progress) => void}
 */
function neverBackwards(tell = () => {}) {
  let most = 0;
  return (progress) => {
    if (progress.loaded < most) return;
    most = progress.loaded;
    tell(progress);
  };
}
