// Workers that read pictures. They hold no model, so one that a picture breaks or hangs is replaced in milliseconds.

import { workerScript } from "./start-worker.js";
import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { environment } from "../shared/environment.js";
import { abortedError, asClipError, ClipError, isDomException } from "../shared/error.js";
import { deviceMemory } from "../shared/device-memory.js";
import { onAbort, untilAborted } from "../shared/waiting.js";

/** @import { Place } from "./start-worker.js" */
/** @import { PictureParams, PictureTimes } from "../shared/protocol.js" */

const MOST_WORKERS = 4;
/** Of the device's memory, what there has to be for each worker: a large photo takes some 150 MB while it is read. */
const MEMORY_EACH = 2 ** 30;
/** Milliseconds that reading a picture may take. The largest that the limits allow take some 10 s on a slow phone. */
const LONGEST = 120_000;

/**
 * A call that waits for a worker.
 * @typedef {{ give: (worker: WorkerConnection) => void, fail: (error: ClipError) => void }} Waiter
 */

export class PicturePool {
  #place;
  /** @type {WorkerConnection[]} that have no picture to read */
  #idle = [];
  /** The workers there are, each with the start of its module. @type {Map<WorkerConnection, Promise<void> | null>} */
  #all = new Map();
  /** What the first worker has compiled: later ones need not fetch it. @type {WebAssembly.Module | undefined} */
  #module;
  /** Settles when the first worker has started its module, or has failed to. @type {Promise<void>} */
  #first = Promise.resolve();
  /** The oldest first. @type {Waiter[]} */
  #waiting = [];
  /** The errors of workers that did not start. @type {WeakSet<Error>} */
  #startFailures = new WeakSet();
  /** @type {ClipError | null} why the workers have ended */
  #ended = null;
  #most;

  /** @param {Place} place */
  constructor(place) {
    this.#place = place;
    this.#most = place.inPlace ? 1 : Math.max(1, Math.min(environment.cores() - 1, MOST_WORKERS, Math.floor(deviceMemory() / MEMORY_EACH)));
  }

  /** How many pictures can be read at once. */
  get size() {
    return this.#most;
  }

  /**
   * Whether the error of a picture is that workers do not start, so that other pictures would have it too.
   * @param {Error} error
   */
  isStartFailure(error) {
    return this.#startFailures.has(error);
  }

  /**
   * Starts a worker while the model is loading, so that the first picture need not wait for it. If that fails, the first
   * picture tries again.
   */
  startEarly() {
    if (this.#place.inPlace) return; // it would keep the caller's context busy
    const worker = this.#newWorker();
    this.#start(worker, true).catch(() => {});
    this.#idle.push(worker);
  }

  /**
   * Reads a picture and prepares it for a model. Starts a worker if none is idle. If a worker starts, a failure affects
   * only this picture.
   * @param {PictureParams} params
   * @param {AbortSignal} [signal] ends the waiting, and the work too
   * @param {(times: PictureTimes) => void} [onTimes]
   * @returns {Promise<Uint8Array>} `[S, S, 3]`, RGB
   */
  async prepare(params, signal, onTimes) {
    const worker = await this.#worker(signal);
    let isAtWork = false;
    try {
      await untilAborted(this.#started(worker), signal);
      isAtWork = true;
      const answer = worker.call("prepare", params, { onTimes }).finally(() => (isAtWork = false));
      return await untilAborted(inTime(answer), signal);
    } catch (error) {
      if (this.#ended) throw this.#ended;
      if (isDomException(error, "DataCloneError")) {
        throw new ClipError("unsupported_image", "this page may not read the pixels of this picture: it is from another site, was loaded without CORS (crossorigin), or is closed", { cause: error });
      }
      if (!(error instanceof WorkerDeath)) throw error;
      throw new ClipError("worker_failed", `${error.message}; try again, or leave this picture out or make it smaller. The encoder keeps working`);
    } finally {
      this.#release(worker, isAtWork);
    }
  }

  /**
   * Ends the workers. Pending and later calls fail with `error`.
   * @param {ClipError} error
   */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    for (const worker of this.#all.keys()) worker.end(error);
    for (const waiter of this.#waiting.splice(0)) waiter.fail(error);
  }

  /**
   * A worker for one call alone.
   * @param {AbortSignal} [signal]
   * @returns {Promise<WorkerConnection>}
   */
  async #worker(signal) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
    for (let idle; (idle = this.#idle.pop()); ) {
      if (!idle.ended) return idle;
      this.#all.delete(idle); // the browser has ended it since its last picture
    }
    if (this.#all.size < this.#most) return this.#newWorker();
    return new Promise((resolve, reject) => {
      const forgetSignal = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(abortedError(/** @type {AbortSignal} */ (signal)));
      });
      /** @type {Waiter} */
      const waiter = { give: (worker) => resolve((forgetSignal(), worker)), fail: (error) => reject((forgetSignal(), error)) };
      this.#waiting.push(waiter);
    });
  }

  #newWorker() {
    const worker = new WorkerConnection(workerScript("pictures", this.#place));
    this.#all.set(worker, null);
    return worker;
  }

  /** @param {WorkerConnection} worker */
  async #started(worker) {
    try {
      await this.#start(worker);
    } catch (error) {
      const failure = error instanceof WorkerDeath ? new ClipError("worker_failed", error.message) : asClipError(error);
      this.#startFailures.add(failure);
      throw failure;
    }
  }

  /**
   * Has a worker start its module, which goes on if the call is aborted. Only one fetches it; the others wait for that.
   * @param {WorkerConnection} worker
   * @param {boolean} [early] whether no picture waits for it yet
   * @returns {Promise<void>}
   */
  #start(worker, early = false) {
    const begun = this.#all.get(worker);
    if (begun) return begun;
    const starting = this.#first
      .catch(() => {})
      .then(async () => {
        this.#module = await worker.call("start", { module: this.#module, early });
      });
    starting.catch(() => {
      if (this.#all.has(worker)) this.#all.set(worker, null); // the next call tries again
    });
    if (!this.#module) this.#first = starting;
    this.#all.set(worker, starting);
    return starting;
  }

  /**
   * @param {WorkerConnection} worker
   * @param {boolean} isAtWork on a picture that no call waits for any more
   */
  #release(worker, isAtWork) {
    if (isAtWork) worker.end(new ClipError("closed", "no call waits for this picture any more"));
    if (worker.ended) this.#all.delete(worker);
    if (this.#ended) return;
    const waiter = this.#waiting.shift();
    if (waiter) waiter.give(worker.ended ? this.#newWorker() : worker);
    else if (!worker.ended) this.#idle.push(worker);
  }
}

/**
 * @template T
 * @param {Promise<T>} answer
 * @returns {Promise<T>} rejects with `corrupt_image` if the answer takes too long
 */
async function inTime(answer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const tooLong = /** @type {Promise<never>} */ (new Promise((_, reject) => {
    const message = `reading this picture takes longer than ${LONGEST / 1000} s: it is damaged, or too large for this device; leave it out`;
    timer = setTimeout(() => reject(new ClipError("corrupt_image", message)), LONGEST);
  }));
  return Promise.race([answer, tooLong]).finally(() => clearTimeout(timer));
}
