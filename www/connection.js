// The page's end of a worker: calls it, hears its progress, gives up on a call, and ends it.

import { abortedError, ClipError } from "./error.js";

/** @import { Progress } from "./weights.js" */

/**
 * @typedef {object} Call a call that waits for its answer
 * @property {(result: any) => void} resolve
 * @property {(error: ClipError) => void} reject
 * @property {(progress: Progress) => void} onProgress
 * @property {() => void} forgetSignal
 */

export class WorkerConnection {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
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
   * Rejects at once when `signal` aborts; a computation that has begun still runs to its end.
   * @param {string} method
   * @param {object} params
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {(progress: Progress) => void} [options.onProgress]
   * @param {Transferable[]} [options.transfer]
   * @returns {Promise<any>}
   */
  async call(method, params, { signal, onProgress = () => {}, transfer = [] } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const abort = () => this.#take(id)?.reject(abortedError(/** @type {AbortSignal} */ (signal)));
      signal?.addEventListener("abort", abort);
      const forgetSignal = () => signal?.removeEventListener("abort", abort);
      this.#calls.set(id, { resolve, reject, onProgress, forgetSignal });
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

  /** @param {{ id: number, progress?: Progress, result?: any, error?: import("./error.js").ErrorMessage }} answer */
  #receive({ id, progress, result, error }) {
    if (progress) {
      this.#calls.get(id)?.onProgress(progress);
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

  /** @param {Event} event */
  #fail(event) {
    const reason = event instanceof ErrorEvent && event.message ? event.message : "it does not start";
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
