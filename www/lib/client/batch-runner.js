// Embeds a batch of images: makes them ready ahead of the workers, gives a worker those that are ready together, and on
// pages without threads starts further workers with the same model.

import { workerScript } from "./start-worker.js";
import { WorkerConnection, WorkerDeath } from "./worker-connection.js";
import { abortedError, asClipError, ClipError, errorOfInput } from "../shared/error.js";
import { deviceMemory } from "../shared/device-memory.js";
import { environment } from "../shared/environment.js";

/** @import { RestartingWorker } from "./restarting-worker.js" */
/** @import { Loaded, LoadParams } from "../shared/protocol.js" */

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
 * The work on a batch. Each input is prepared outside of these workers, some inputs ahead. A worker then embeds those
 * that are ready.
 * @template Input, T
 * @typedef {object} Work
 * @property {number} count of inputs
 * @property {AbortSignal} [signal] after which nothing is reported any more
 * @property {number} ahead how many inputs are prepared beyond the next one, at least
 * @property {(index: number) => Promise<Input>} prepare
 * @property {number} together how many inputs a worker is given at once, at most
 * @property {(worker: Caller, inputs: Input[]) => Promise<(T | ClipError)[]>} embed
 * @property {(index: number) => void} onEmbedded called before an input's result is given to the caller
 * @property {(error: ClipError) => boolean} isCommon whether other inputs would have this error too, apart from the
 *   codes of which this is always true
 */

/**
 * The result of one input, or its error.
 * @template T
 * @typedef {{ index: number, value: T } | { index: number, error: ClipError }} Outcome
 */

/**
 * An input that is being prepared.
 * @template Input
 */
class Prepared {
  isSettled = false;

  /** @param {Promise<Input>} promise */
  constructor(promise) {
    this.promise = promise;
    const settle = () => (this.isSettled = true);
    promise.then(settle, settle); // a failure is reported when this input is the next
  }
}

export class BatchRunner {
  #params;
  #most;
  #deaths = 0;
  /** @type {Map<WorkerConnection, Promise<boolean>>} whether the model is loaded; a failed helper keeps its entry */
  #helpers = new Map();

  /**
   * @param {LoadParams} params how the first worker loaded the model
   * @param {Pick<Loaded, "device" | "threads" | "memory">} loaded by the first worker
   */
  constructor(params, { device, threads, memory }) {
    const room = Math.floor((deviceMemory() * MEMORY_SHARE) / memory.memory) - 1;
    this.#params = params;
    // Threads use the cores already, a GPU does not need them; and if the caller asked for one thread, one worker is all
    // there may be.
    this.#most = device.name === "webgpu" || threads > 1 || params.threads === 1 || params.inPlace ? 0 : Math.min(environment.cores() - 1, MOST_HELPERS, room);
  }

  /**
   * The results of all inputs, in their order. If several fail, the error is that of the first of them, with its number.
   * @template Input, T
   * @param {Work<Input, T>} work
   * @param {Caller} first
   * @param {(progress: { done: number, total: number }) => void} [onProgress]
   * @returns {Promise<T[]>}
   */
  async share(work, first, onProgress = () => {}) {
    /** @type {T[]} */
    const results = [];
    /** @type {{ index: number, error: ClipError }[]} */
    const failures = [];
    let done = 0;
    await this.#run(work, first, async (outcome) => {
      if ("error" in outcome) failures.push(outcome);
      else if (work.signal?.aborted) failures.push({ index: outcome.index, error: abortedError(work.signal) });
      else {
        results[outcome.index] = outcome.value;
        work.onEmbedded(outcome.index);
        onProgress({ done: ++done, total: work.count });
      }
      return failures.length === 0;
    });
    if (failures.length === 0) return results;
    const { index, error } = failures.reduce((a, b) => (b.index < a.index ? b : a));
    throw isCommon(error, work) ? error : errorOfInput(error, index, work.count);
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
      if ("error" in outcome && isCommon(outcome.error, work)) {
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
  async #run({ count, ahead, prepare, together, embed }, first, tell) {
    let next = 0;
    let goesOn = true;
    /** @type {Prepared<Input>[]} */
    const inputs = [];
    const inputAt = (/** @type {number} */ index) => {
      while (inputs.length < Math.min(index + 1 + Math.max(ahead, together), count)) inputs.push(new Prepared(prepare(inputs.length)));
      return /** @type {Prepared<Input>} */ (inputs[index]);
    };
    /** Takes the next input, and those after it that are ready. A failure ends the row. */
    const takeBatch = async () => {
      /** @type {{ index: number, input: Input }[]} */
      const batch = [];
      /** @type {Outcome<T> | null} */
      let failure = null;
      do {
        const index = next++;
        try {
          batch.push({ index, input: await inputAt(index).promise });
        } catch (error) {
          failure = { index, error: asClipError(error) };
        }
        delete inputs[index];
      } while (!failure && batch.length < together && next < count && inputAt(next).isSettled);
      return { batch, failure };
    };
    /** @returns {Promise<{ isLost: boolean, results: (T | ClipError)[] }>} */
    const embedAll = async (/** @type {Caller} */ worker, /** @type {Input[]} */ batch) => {
      try {
        return { isLost: false, results: await embed(worker, batch) };
      } catch (thrown) {
        if (thrown instanceof WorkerDeath) return { ...(await embedAll(first, batch)), isLost: true }; // the helper is lost, the inputs are not
        const error = asClipError(thrown);
        if (error.code !== "worker_failed" || batch.length === 1) return { isLost: false, results: batch.map(() => error) };
      }
      // One of them may have ended the worker: the others get another chance.
      const results = [];
      for (const input of batch) results.push(...(await embedAll(worker, [input])).results);
      return { isLost: false, results };
    };
    const takeAll = async (/** @type {Caller} */ worker) => {
      for (let isLost = false; next < count && goesOn && !isLost; ) {
        const { batch, failure } = await takeBatch();
        /** @type {Outcome<T>[]} */
        const outcomes = [];
        if (batch.length > 0) {
          const embedded = await embedAll(worker, batch.map(({ input }) => input));
          isLost = embedded.isLost;
          for (const [i, { index }] of batch.entries()) {
            const result = /** @type {T | ClipError} */ (embedded.results[i]);
            outcomes.push(result instanceof ClipError ? { index, error: result } : { index, value: result });
          }
        }
        if (failure) outcomes.push(failure);
        for (const outcome of outcomes) {
          if ("error" in outcome && outcome.error.code === "encoder_lost") this.end(outcome.error);
          if (!(await tell(outcome))) goesOn = false;
        }
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
      const helper = new WorkerConnection(workerScript("model", this.#params), () => this.#replace(helper));
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

/**
 * Whether other inputs would have the same error.
 * @param {ClipError} error
 * @param {Pick<Work<never, never>, "isCommon">} work
 */
function isCommon(error, work) {
  return OF_EVERY_INPUT.includes(error.code) || work.isCommon(error);
}
