// Workers that read pictures. They hold no model, so one that a picture breaks or hangs is replaced in milliseconds.

import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { environment } from "../shared/environment.js";
import { abortedError, ClipError } from "../shared/error.js";
import { deviceMemory } from "../shared/device-memory.js";
import { untilAborted } from "../shared/waiting.js";

/** @import { PictureParams, Prepared } from "../shared/protocol.js" */

const MOST_WORKERS = 4;
/** Of the device's memory, what there has to be for each worker: a large photo takes some 150 MB while it is read. */
const MEMORY_EACH = 2 ** 30;
/** Milliseconds that reading a picture may take. The largest that the limits allow take some 10 s on a slow phone. */
const LONGEST = 120_000;

export class PicturePool {
  /** @type {WorkerConnection[]} that have no picture to read */
  #idle = [];
  /** What the first worker has compiled: the others, and those that take the place of a broken one, start at once. @type {WebAssembly.Module | undefined} */
  #module;
  /** With whether it has read a picture yet. @type {Map<WorkerConnection, boolean>} */
  #all = new Map();
  /** @type {(() => void)[]} calls that wait for a worker, the oldest first */
  #waiting = [];
  /** @type {ClipError | null} why the workers have ended */
  #ended = null;
  #most = Math.max(1, Math.min(environment.cores() - 1, MOST_WORKERS, Math.floor(deviceMemory() / MEMORY_EACH)));

  /** How many pictures can be read at once. */
  get size() {
    return this.#most;
  }

  /**
   * Reads a picture and prepares it for a model. Starts a worker if none is idle. A failure affects only this picture.
   * @param {PictureParams} params
   * @param {AbortSignal} [signal] ends the waiting, and the work too
   * @returns {Promise<Uint8Array>} `[S, S, 3]`, RGB
   */
  async prepare(params, signal) {
    const worker = await this.#worker(signal);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const tooLong = /** @type {Promise<never>} */ (new Promise((_, reject) => {
      const message = `reading this picture takes longer than ${LONGEST / 1000} s: it is damaged, or too large for this device; leave it out`;
      timer = setTimeout(() => reject(new ClipError("corrupt_image", message)), LONGEST);
    }));
    let isAtWork = true;
    const isFirst = !this.#all.get(worker);
    const answer = worker.call("prepare", isFirst ? { ...params, module: this.#module } : params).finally(() => (isAtWork = false));
    try {
      const { pixels, module } = /** @type {Prepared} */ (await untilAborted(Promise.race([answer, tooLong]), signal));
      this.#module ??= module;
      this.#all.set(worker, true);
      return pixels;
    } catch (error) {
      if (this.#ended) throw this.#ended;
      if (!(error instanceof WorkerDeath)) throw error;
      throw new ClipError("worker_failed", `${error.message}; try again, or leave this picture out or make it smaller. The encoder keeps working`);
    } finally {
      clearTimeout(timer);
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
    for (const wake of this.#waiting) wake();
  }

  /**
   * @param {AbortSignal} [signal]
   * @returns {Promise<WorkerConnection>} that no other call uses
   */
  async #worker(signal) {
    for (;;) {
      if (this.#ended) throw this.#ended;
      if (signal?.aborted) throw abortedError(signal);
      const idle = this.#idle.pop();
      if (idle) return idle;
      if (this.#all.size < this.#most) {
        const worker = new WorkerConnection("pictures");
        this.#all.set(worker, false);
        return worker;
      }
      /** @type {() => void} */
      let wake = () => {};
      const freed = new Promise((resolve) => this.#waiting.push((wake = () => resolve(undefined))));
      try {
        await untilAborted(freed, signal);
      } catch (error) {
        this.#waiting = this.#waiting.filter((other) => other !== wake);
        throw error;
      }
    }
  }

  /**
   * @param {WorkerConnection} worker
   * @param {boolean} isAtWork on a picture that nobody waits for any more
   */
  #release(worker, isAtWork) {
    if (isAtWork) worker.end(new ClipError("closed", "nobody waits for this picture any more"));
    if (worker.ended) this.#all.delete(worker);
    else this.#idle.push(worker);
    this.#waiting.shift()?.();
  }
}
