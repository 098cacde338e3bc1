// Workers beside an encoder's first, each with the same model, for batches on pages that may have no threads.

import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { asClipError, ClipError } from "../shared/error.js";
import { deviceMemory } from "../shared/memory.js";
import { environment } from "../shared/environment.js";

/** @import { RestartingWorker } from "./restarting-worker.js" */
/** @import { LoadParams } from "../shared/protocol.js" */

/** @typedef {Pick<RestartingWorker, "call">} Caller what can be asked to embed */

/** Inputs for which it pays to load the model again: smaller batches finish before extra workers are ready. */
const WORTHWHILE = 16;
const MOST_HELPERS = 3;
/** The part of the device's memory that all workers together may take. */
const MEMORY_SHARE = 0.25;
/** Results that wait for whoever takes them one by one, at most, before no further input is begun. */
const MOST_WAITING = 8;
/** What fails with these fails for every other input too. */
const OF_EVERY_INPUT = ["encoder_lost", "closed", "aborted", "missing_tower"];
/** WorkerPool that may die before there are no more: the device may not have the room for them. */
const MOST_DEATHS = 3;

/**
 * What is done to each input of a batch: made ready beside the workers, some inputs ahead, then embedded by one.
 * @template Input, T
 * @typedef {object} Work
 * @property {number} count of inputs
 * @property {number} ahead how many are made ready beyond the one that is wanted
 * @property {(index: number) => Promise<Input>} prepare
 * @property {(worker: Caller, input: Input) => Promise<T>} embed
 */

/**
 * What became of one input.
 * @template T
 * @typedef {{ index: number, value: T } | { index: number, error: ClipError }} Outcome
 */

export class WorkerPool {
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
    const room = Math.floor((deviceMemory() * MEMORY_SHARE) / memory.memory) - 1;
    this.#params = params;
    // Threads use the cores already, and whoever asked for one is to have one.
    this.#most = threads > 1 || params.threads === 1 ? 0 : Math.min(environment.cores() - 1, MOST_HELPERS, room);
  }

  /**
   * The results of all inputs, in their order. If several fail, the error is that of the first of them.
   * @template Input, T
   * @param {Work<Input, T>} work
   * @param {Caller} first
   * @param {(progress: { done: number, total: number }) => void} onProgress
   * @returns {Promise<T[]>}
   */
  async share(work, first, onProgress) {
    /** @type {T[]} */
    const results = [];
    /** @type {{ index: number, error: ClipError }[]} */
    const failures = [];
    let done = 0;
    await this.#run(work, first, async (outcome) => {
      if ("error" in outcome) failures.push(outcome);
      else {
        results[outcome.index] = outcome.value;
        onProgress({ done: ++done, total: work.count });
      }
      return failures.length === 0;
    });
    if (failures.length === 0) return results;
    throw failures.reduce((a, b) => (b.index < a.index ? b : a)).error;
  }

  /**
   * The outcome of each input as soon as it is known, in no order. An input that fails stops no other, unless it fails
   * for a reason that all share. When the caller stops taking outcomes, no more inputs are begun.
   * @template Input, T
   * @param {Work<Input, T>} work
   * @param {Caller} first
   * @returns {AsyncGenerator<Outcome<T>, void, void>}
   */
  async *each(work, first) {
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
    this.#run(work, first, (outcome) => tell(outcome).catch(untaken))
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
   * @template Input, T
   * @param {Work<Input, T>} work
   * @param {Caller} first
   * @param {(outcome: Outcome<T>) => Promise<boolean>} tell
   */
  async #run({ count, ahead, prepare, embed }, first, tell) {
    let next = 0;
    let goesOn = true;
    /** @type {Promise<Input>[]} */
    const inputs = [];
    const inputOf = (/** @type {number} */ index) => {
      while (inputs.length < Math.min(index + 1 + ahead, count)) {
        const input = prepare(inputs.length);
        input.catch(() => {}); // its failure is told when its turn comes
        inputs.push(input);
      }
      const input = /** @type {Promise<Input>} */ (inputs[index]);
      delete inputs[index];
      return input;
    };
    const resultOf = async (/** @type {Caller} */ worker, /** @type {number} */ index) => {
      const input = await inputOf(index);
      try {
        return { isLost: false, value: await embed(worker, input) };
      } catch (error) {
        if (!(error instanceof WorkerDeath)) throw error;
        return { isLost: true, value: await embed(first, input) }; // the helper is lost, the input is not
      }
    };
    const takeFor = async (/** @type {Caller} */ worker) => {
      for (let isLost = false; next < count && goesOn && !isLost; ) {
        const index = next++;
        /** @type {Outcome<T>} */
        let outcome;
        try {
          const result = await resultOf(worker, index);
          ({ isLost } = result);
          outcome = { index, value: result.value };
        } catch (error) {
          outcome = { index, error: asClipError(error) };
          if (outcome.error.code === "encoder_lost") this.end(outcome.error);
        }
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
      const helper = new WorkerConnection("model", () => this.#replace(helper));
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
