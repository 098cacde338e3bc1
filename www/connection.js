// The page's end of a worker: calls it, hears its progress, gives up on a call, and ends it.

import { abortedError, ClipError } from "./error.js";
import { isForeign, startForeign } from "./foreign.js";
import { workerRequests } from "./requests.js";

/** @import { Progress } from "./loading.js" */
/** @import { Warning } from "./keeper.js" */
/** @import { Loaded } from "./worker.js" */

/**
 * @typedef {object} Call a call that waits for its answer
 * @property {(result: any) => void} resolve
 * @property {(error: ClipError) => void} reject
 * @property {(progress: Progress) => void} onProgress
 * @property {(warning: Warning) => void} onWarning
 * @property {(loaded: Loaded) => void} onEarly
 * @property {() => void} forgetSignal
 */

export class WorkerConnection {
  /** Starts a worker of this name. Where a browser's way is not to be had, another is put in its place. */
  static start = startWorker;

  /** Of the lock that the worker holds as long as it lives. */
  #name = `clip-wasm worker ${Date.now()} ${Math.random()}`;
  #worker = WorkerConnection.start(this.#name);
  #nextId = 0;
  /** @type {Map<number, Call>} */
  #calls = new Map();
  /** @type {ClipError | null} why there is no worker any more */
  #ended = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => this.#fail(event));
    this.#worker.addEventListener("messageerror", (event) => this.#fail(event));
  }

  /**
   * Rejects at once when `signal` aborts; a computation that has begun still runs to its end, a load does not.
   * @param {string} method
   * @param {object} params
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {(progress: Progress) => void} [options.onProgress]
   * @param {(warning: Warning) => void} [options.onWarning]
   * @param {(loaded: Loaded) => void} [options.onEarly]
   * @param {Transferable[]} [options.transfer]
   * @returns {Promise<any>}
   */
  async call(method, params, { signal, onProgress = () => {}, onWarning = () => {}, onEarly = () => {}, transfer = [] } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#worker.postMessage({ id, abort: true });
        this.#take(id)?.reject(abortedError(/** @type {AbortSignal} */ (signal)));
      };
      signal?.addEventListener("abort", abort);
      const forgetSignal = () => signal?.removeEventListener("abort", abort);
      this.#calls.set(id, { resolve, reject, onProgress, onWarning, onEarly, forgetSignal });
      this.#worker.postMessage({ id, method, params }, transfer);
    });
  }

  /**
   * Ends the worker and with it the model's memory; what waits, and what comes after, fails with `error`.
   * @param {ClipError} error
   */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    for (const id of [...this.#calls.keys()]) this.#take(id)?.reject(error);
  }

  /** @param {{ alive?: true, requests?: string[], id: number, progress?: Progress, warning?: Warning, early?: Loaded, result?: any, error?: import("./error.js").ErrorMessage }} answer */
  #receive({ alive, requests, id, progress, warning, early, result, error }) {
    if (alive) {
      this.#watch();
      return;
    }
    if (requests) {
      workerRequests.dispatchEvent(new CustomEvent("requests", { detail: requests }));
      return;
    }
    if (progress || warning || early) {
      const call = this.#calls.get(id);
      if (progress) call?.onProgress(progress);
      if (warning) call?.onWarning(warning);
      if (early) call?.onEarly(early);
      return;
    }
    if (!error) {
      this.#take(id)?.resolve(result);
      return;
    }
    const failure = new ClipError(error.code, error.message, error);
    if (failure.code === "worker_failed") this.end(failure);
    else this.#take(id)?.reject(failure);
  }

  /** A worker that the browser ends, as for want of memory, says nothing; but its lock is free then. */
  async #watch() {
    await navigator.locks.request(this.#name, () => this.#lose("the browser has ended it"));
  }

  /** @param {Event} event */
  #fail(event) {
    this.#lose("message" in event && event.message ? String(event.message) : "it does not start");
  }

  /** @param {string} reason */
  #lose(reason) {
    this.end(new ClipError("worker_failed", `the encoder's worker failed: ${reason}; load the model again`));
  }

  /**
   * @param {number} id
   * @returns {Call | undefined}
   */
  #take(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.forgetSignal();
    return call;
  }
}

/**
 * @param {string} name
 * @returns {Worker}
 */
function startWorker(name) {
  if (isForeign(import.meta.url)) return startForeign("worker.js", import.meta.url, name);
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name });
}
