// Embeds a batch of images: makes them ready ahead of the workers, and on pages without threads starts further workers
// with the same model.

import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { asClipError, ClipError } from "../shared/error.js";
import { deviceMemory } from "../shared/device-memory.js";
import { environment } from "../shared/environment.js";

/** @import { RestartingWorker } from "./restarting-worker.js" */
/** @import { LoadParams } from "../shared/protocol.js" */

/** @typedef {Pick<RestartingWorker, "call">} Caller a worker that embeds */

/** Inputs for which it pays to load the model again: smaller batches finish before extra workers are ready. */
const WORTHWHILE = 16;
const MOST_HELPERS = 3;
/** The share of the device's memory that all workers together may use. */
const MEMORY_SHARE = 0.25;
/** At most so many results wait for the caller; then no further input is begun. */
const MOST_WAITING = 8;
/** An error with one of these codes would occur for every other input too, whatever the work is. */
const OF_EVERY_INPUT = ["encoder_lost", "closed", "aborted", "missing_tower"];
/** After so many deaths, no more workers are started: the device may have too little memory for them. */
const MOST_DEATHS = 3;

/**
 * The work on a batch. Each input is prepared outside of these workers, some inputs ahead, and then embedded by one of
 * them.
 * @template Input, T
 * @typedef {object} Work
 * @property {number} count of inputs
 * @property {number} ahead how many inputs are prepared beyond the next one
 * @property {(index: number) => Promise<Input>} prepare
 * @property {(worker: Caller, input: Input) => Promise<T>} embed
 * @property {(error: ClipError) => boolean} isCommon whether other inputs would have this error too, apart from the
 *   codes of which this is always true
 */

/**
 * The result of one input, or its error.
 * @template T
 * @typedef {{ index: number, value: T } | { index: number, error: ClipError }} Outcome
 */

export class BatchRunner {
  #params;
  #most;
  #deaths = 0;
  /** @type {Map<WorkerConnection, Promise<boolean>>} whether the model is loaded; a failed helper keeps its entry */
  #helpers = new Map();

  /**
   * @param {LoadParams} params how the first worker loaded the model
   * @param {{ threads: number, memory: { memory: number } }} loaded the first worker's threads, and its memory in bytes
   */
  constructor(params, { threads, memory }) {
    const room = Math.floor((deviceMemory() * MEMORY_SHARE) / memory.memory) - 1;
    this.#params = params;
    // Threads use the cores already; and if the caller asked for one thread, one worker is all there may be.
    this.#most = threads > 1 || params.threads === 1 || params.inPlace ? 0 : Math.min(environment.cores() - 1, MOST_HELPERS, room);
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
   * Yields the outcome of each input as soon as it is known, in no fixed order. If an input fails, the others go on,
   * unless its error would occur for every input. When the caller stops iterating, no more inputs are begun.
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
      if ("error" in outcome && (OF_EVERY_INPUT.includes(outcome.error.code) || work.isCommon(outcome.error))) {
        failure = outcome.error;
        return false;
      }
      await writer.ready;
      await writer.write(outcome);
      return true;
    };
    // Writing rejects when nobody reads any more.
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
   * The first worker begins, and helpers join in as soon as they are ready, until `tell` resolves with `false`.
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
        input.catch(() => {}); // a failure is reported when this input is the next
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
    const takeAll = async (/** @type {Caller} */ worker) => {
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
    /** What `tell` has thrown. @type {{ error: unknown } | null} */
    let thrown = null;
    const takeFor = (/** @type {Caller} */ worker) =>
      takeAll(worker).catch((error) => {
        goesOn = false;
        thrown ??= { error };
      });
    const running = [takeFor(first)];
    this.#start(count);
    for (const [helper, ready] of this.#helpers) {
      ready.then((isReady) => isReady && running.push(takeFor(helper)));
    }
    // The list grows meanwhile, so a Promise.all would miss helpers that join later.
    for (let index = 0; index < running.length; index++) await running[index];
    if (thrown) throw /** @type {{ error: unknown }} */ (thrown).error;
  }

  /** @param {ClipError} error that pending calls fail with */
  end(error) {
    this.#most = 0;
    for (const helper of this.#helpers.keys()) helper.end(error);
  }

  /** @param {number} count */
  #start(count) {
    while (count >= WORTHWHILE && this.#helpers.size < this.#most) {
      const helper = new WorkerConnection("model", this.#params, () => this.#replace(helper));
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
   * Forgets a helper, so that the next large batch starts another one.
   * @param {WorkerConnection} helper that has died
   */
  #replace(helper) {
    this.#helpers.delete(helper);
    if (++this.#deaths === MOST_DEATHS) this.#most = 0;
  }
}
