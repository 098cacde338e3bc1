// Workers beside an encoder's first, each with the same model, for batches on pages that may have no threads.

import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { asClipError, ClipError } from "../shared/error.js";
import { platform } from "../shared/environment.js";

/** @import { LastingWorker } from "./restarting-worker.js" */
/** @import { LoadParams } from "../worker/model-worker.js" */

/** @typedef {Pick<LastingWorker, "call">} Caller what can be asked to embed */

/** Inputs for which it pays to load the model again: in less time than that takes, fewer are done without. */
const WORTHWHILE = 16;
const MOST_HELPERS = 3;
/** Of the device's memory, for all workers together; where it is not told, 4 GB are supposed. */
const MEMORY_SHARE = 0.25;
const SUPPOSED_GIGABYTES = 4;
/** Results that wait for whoever takes them one by one, at most, before no further input is begun. */
const MOST_WAITING = 8;
/** What fails with these fails for every other input too. */
const OF_EVERY_INPUT = ["encoder_lost", "closed", "aborted", "missing_tower"];
/** Helpers that may die before there are no more: the device may not have the room for them. */
const MOST_DEATHS = 3;

/**
 * What became of one input.
 * @template T
 * @typedef {{ index: number, value: T } | { index: number, error: ClipError }} Outcome
 */

export class Helpers {
  #params;
  #most;
  #deaths = 0;
  /** @type {Map<WorkerConnection, Promise<boolean>>} whether its model has been loaded; where it cannot be, it stays */
  #helpers = new Map();

  /**
   * @param {LoadParams} params how the first worker loaded the model
   * @param {{ threads: number, memory: { memory: number } }} loaded what the first worker has, in bytes
   */
  constructor(params, { threads, memory }) {
    const { deviceMemory = SUPPOSED_GIGABYTES } = /** @type {{ deviceMemory?: number }} */ (globalThis.navigator ?? {});
    const room = Math.floor((deviceMemory * 2 ** 30 * MEMORY_SHARE) / memory.memory) - 1;
    this.#params = params;
    // Threads use the cores already, and whoever asked for one is to have one.
    this.#most = threads > 1 || params.threads === 1 ? 0 : Math.min(platform.cores() - 1, MOST_HELPERS, room);
  }

  /**
   * What `work` gives for each index below `count`, in their order. Where several fail, the error is that of the
   * lowest index.
   * @template T
   * @param {number} count
   * @param {Caller} first
   * @param {(worker: Caller, index: number) => Promise<T>} work
   * @param {(progress: { done: number, total: number }) => void} onProgress
   * @returns {Promise<T[]>}
   */
  async share(count, first, work, onProgress) {
    /** @type {T[]} */
    const results = [];
    /** @type {{ index: number, error: ClipError }[]} */
    const failures = [];
    let done = 0;
    await this.#run(count, first, work, async (outcome) => {
      if ("error" in outcome) failures.push(outcome);
      else {
        results[outcome.index] = outcome.value;
        onProgress({ done: ++done, total: count });
      }
      return failures.length === 0;
    });
    if (failures.length === 0) return results;
    throw failures.reduce((a, b) => (b.index < a.index ? b : a)).error;
  }

  /**
   * What becomes of each index below `count`, as soon as it is known, in no order. One that fails stops no other,
   * unless it fails for what all have in common. Whoever takes no more has no more begun.
   * @template T
   * @param {number} count
   * @param {Caller} first
   * @param {(worker: Caller, index: number) => Promise<T>} work
   * @returns {AsyncGenerator<Outcome<T>, void, void>}
   */
  async *each(count, first, work) {
    /** @type {TransformStream<Outcome<T>, Outcome<T>>} */
    const { writable, readable } = new TransformStream({}, undefined, { highWaterMark: MOST_WAITING });
    const writer = writable.getWriter();
    /** @type {ClipError | null} */
    let failure = null;
    const tell = async (/** @type {Outcome<T>} */ outcome) => {
      if (failure) return false;
      if ("error" in outcome && OF_EVERY_INPUT.includes(outcome.error.code)) {
        failure = outcome.error;
        return false;
      }
      await writer.ready;
      await writer.write(outcome);
      return true;
    };
    // It rejects where nobody reads any more.
    const untaken = () => false;
    this.#run(count, first, work, (outcome) => tell(outcome).catch(untaken))
      .then(() => writer.close())
      .catch(untaken);
    const reader = readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        yield value;
      }
    } finally {
      await reader.cancel();
    }
    if (failure) throw failure;
  }

  /**
   * The first worker begins, and helpers take their share as soon as they are ready, until `tell` says that it
   * wants no more.
   * @template T
   * @param {number} count
   * @param {Caller} first
   * @param {(worker: Caller, index: number) => Promise<T>} work
   * @param {(outcome: Outcome<T>) => Promise<boolean>} tell
   */
  async #run(count, first, work, tell) {
    let next = 0;
    let goesOn = true;
    const takeFor = async (/** @type {Caller} */ worker) => {
      for (let lost = false; next < count && goesOn && !lost; ) {
        const index = next++;
        const outcome = await work(worker, index)
          .catch((error) => {
            lost = error instanceof WorkerDeath; // a helper's: the input is not
            if (lost) return work(first, index);
            throw error;
          })
          .then(
            (value) => ({ index, value }),
            (error) => ({ index, error: asClipError(error) }),
          );
        if ("error" in outcome && outcome.error.code === "encoder_lost") this.end(outcome.error);
        if (!(await tell(outcome))) goesOn = false;
      }
    };
    const running = [takeFor(first)];
    this.#start(count);
    for (const [helper, ready] of this.#helpers) {
      ready.then((isReady) => isReady && running.push(takeFor(helper)));
    }
    // It grows while it is waited for.
    for (let index = 0; index < running.length; index++) await running[index];
  }

  /** @param {ClipError} error for the calls that wait */
  end(error) {
    this.#most = 0;
    for (const helper of this.#helpers.keys()) helper.end(error);
  }

  /** @param {number} count */
  #start(count) {
    while (count >= WORTHWHILE && this.#helpers.size < this.#most) {
      const helper = new WorkerConnection(() => this.#replace(helper));
      const ready = helper.call("load", { ...this.#params, towers: ["vision"], first: undefined }).then(
        () => true,
        (error) => {
          if (error instanceof ClipError) helper.end(error);
          return false;
        },
      );
      this.#helpers.set(helper, ready);
    }
  }

  /**
   * By another one, when next there is as much to do.
   * @param {WorkerConnection} helper that has died
   */
  #replace(helper) {
    this.#helpers.delete(helper);
    if (++this.#deaths === MOST_DEATHS) this.#most = 0;
  }
}
