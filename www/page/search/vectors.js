// The page's side of the worker that holds the vectors.

import { WorkerConnection, WorkerDeath } from "../../lib/client/worker-connection.js";
import { ClipError } from "../../lib/shared/error.js";
import { searchWorker } from "./workers.js";

/** @import { Exchange } from "../../lib/shared/protocol.js" */
/** @import { Duplicates, Ranking, Terms } from "./matrix.js" */

/**
 * The methods of the worker: those of a matrix.
 * @typedef {object} VectorMethods
 * @property {(params: { dimension: number }) => void} open forgets all vectors
 * @property {(params: { row: number, vectors: Float32Array }) => void} put
 * @property {(params: { rows: Uint32Array }) => void} keepOnly
 * @property {(params: { rows: Uint32Array }) => Float32Array} vectors
 * @property {(params: Terms) => Timed<Ranking>} rank
 * @property {(params: { least: number }, exchange: Exchange) => Promise<Duplicates>} duplicates
 */

/** @template T @typedef {T & { milliseconds: number }} Timed */

/** The path of the worker's script. */
export const VECTOR_WORKER = "page/search/vector-worker.js";
const script = searchWorker(VECTOR_WORKER, "the worker that searches");

/** The vectors of one collection, by row. */
export class Vectors {
  #connection;

  /**
   * @param {number} dimension of every vector
   * @param {() => void} onLost called if the worker dies, and with it the vectors
   */
  constructor(dimension, onLost) {
    this.#connection = new WorkerConnection(script, onLost);
    this.#tell("open", { dimension });
  }

  /**
   * @param {number} row the first of these
   * @param {Float32Array} vectors of unit length, one after the other
   */
  put(row, vectors) {
    this.#tell("put", { row, vectors });
  }

  /** @param {Uint32Array} rows ascending: those that stay */
  keepOnly(rows) {
    this.#tell("keepOnly", { rows });
  }

  /** @param {Uint32Array} rows @returns {Promise<Float32Array>} one after the other */
  vectors(rows) {
    return this.#ask("vectors", { rows });
  }

  /** Ranks all rows. @param {Terms} terms @returns {Promise<Timed<Ranking>>} */
  rank(terms) {
    return this.#ask("rank", terms);
  }

  /**
   * @param {number} least cosine
   * @param {object} options
   * @param {AbortSignal} options.signal
   * @param {(share: number) => void} options.onProgress
   * @returns {Promise<Duplicates>}
   */
  duplicates(least, { signal, onProgress }) {
    return this.#ask("duplicates", { least }, { signal, onProgress: ({ loaded }) => onProgress(loaded) });
  }

  /** Ends the worker. */
  close() {
    this.#connection.end(new ClipError("closed", "another model has been chosen"));
  }

  /**
   * What the next question depends on; that one fails if this does.
   * @param {keyof VectorMethods} method
   * @param {object} params
   */
  #tell(method, params) {
    this.#connection.call(method, params).catch(() => {});
  }

  /**
   * @param {keyof VectorMethods} method
   * @param {object} params
   * @param {Parameters<WorkerConnection["call"]>[2]} [options]
   */
  async #ask(method, params, options) {
    try {
      return await this.#connection.call(method, params, options);
    } catch (error) {
      if (!(error instanceof WorkerDeath)) throw error;
      throw new ClipError("worker_failed", `${error.message}; search again, which reads the vectors anew`, { cause: error });
    }
  }
}
