// Workers beside an encoder's first, each with the same model, for batches on pages that may have no threads.

import { WorkerConnection } from "./connection.js";
import { ClipError } from "./error.js";

/** @import { LoadParams } from "./worker.js" */

/** Inputs for which it pays to load the model again: in less time than that takes, fewer are done without. */
const WORTHWHILE = 16;
const MOST_HELPERS = 3;
/** Of the device's memory, for all workers together; where it is not told, 4 GB are supposed. */
const MEMORY_SHARE = 0.25;
const SUPPOSED_GIGABYTES = 4;

export class Helpers {
  #params;
  #most;
  /** @type {WorkerConnection[]} */
  #connections = [];
  /** @type {Promise<WorkerConnection | null>[]} each once its model is loaded, `null` where it cannot be */
  #ready = [];

  /**
   * @param {LoadParams} params how the first worker loaded the model
   * @param {{ threads: number, memory: { memory: number } }} loaded what the first worker has, in bytes
   */
  constructor(params, { threads, memory }) {
    const { hardwareConcurrency, deviceMemory = SUPPOSED_GIGABYTES } =
      /** @type {Navigator & { deviceMemory?: number }} */ (navigator);
    const room = Math.floor((deviceMemory * 2 ** 30 * MEMORY_SHARE) / memory.memory) - 1;
    this.#params = params;
    // Threads use the cores already, and whoever asked for one is to have one.
    this.#most = threads > 1 || params.threads === 1 ? 0 : Math.min(hardwareConcurrency - 1, MOST_HELPERS, room);
  }

  /**
   * What `work` gives for each index below `count`, in their order: the first worker begins, and helpers take
   * their share as soon as they are ready. Where several fail, the error is that of the lowest index.
   * @template T
   * @param {number} count
   * @param {WorkerConnection} first
   * @param {(connection: WorkerConnection, index: number) => Promise<T>} work
   * @returns {Promise<T[]>}
   */
  async share(count, first, work) {
    /** @type {T[]} */
    const results = [];
    /** @type {{ index: number, error: unknown }[]} */
    const failures = [];
    let next = 0;
    const takeFor = async (/** @type {WorkerConnection} */ connection) => {
      while (next < count && failures.length === 0) {
        const index = next++;
        try {
          results[index] = await work(connection, index).catch((error) => {
            if (connection === first || !isWorkerFailure(error)) throw error;
            return work(first, index); // the helper is lost, the input is not
          });
        } catch (error) {
          failures.push({ index, error });
        }
      }
    };
    const running = [takeFor(first)];
    for (const helper of this.#start(count)) {
      helper.then((connection) => connection && running.push(takeFor(connection)));
    }
    // It grows while it is waited for.
    for (let index = 0; index < running.length; index++) await running[index];
    if (failures.length === 0) return results;
    const { error } = failures.reduce((a, b) => (b.index < a.index ? b : a));
    // It was the first worker's: without that one the encoder is lost.
    if (isWorkerFailure(error)) this.end(error);
    throw error;
  }

  /** @param {ClipError} error for the calls that wait */
  end(error) {
    this.#most = 0;
    for (const connection of this.#connections) connection.end(error);
  }

  /** @param {number} count */
  #start(count) {
    while (count >= WORTHWHILE && this.#ready.length < this.#most) {
      const connection = new WorkerConnection();
      this.#connections.push(connection);
      this.#ready.push(
        connection.call("load", { ...this.#params, towers: ["vision"], first: undefined }).then(
          () => connection,
          (error) => {
            connection.end(error);
            return null;
          },
        ),
      );
    }
    return this.#ready;
  }
}

/**
 * @param {unknown} error
 * @returns {error is ClipError}
 */
function isWorkerFailure(error) {
  return error instanceof ClipError && error.code === "worker_failed";
}
