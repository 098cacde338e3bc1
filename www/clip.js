// The public JavaScript API: CLIP's two encoders, running in a worker of this page.

import { WorkerConnection } from "./connection.js";
import { download } from "./download.js";
import { ClipError, errorJson } from "./error.js";
import { Helpers } from "./helpers.js";

/** @import { Progress } from "./weights.js" */
/** @import { Loaded, LoadParams } from "./worker.js" */

export { ClipError, errorJson };

/**
 * What the hosted endpoint prints: one list an input, in input order.
 * @typedef {{ data: number[][], status_code: 200 }} Embeddings
 */

/**
 * @typedef {object} EmbedOptions
 * @property {boolean} [normalize] to unit length (L2), which is the default; otherwise the raw projection
 * @property {AbortSignal} [signal]
 */

/** @typedef {Blob | Uint8Array | ArrayBuffer | URL | string} ImageSource a string is a URL */

/**
 * Every method rejects with a {@link ClipError}, whose `code` is stable. A failed call leaves the
 * encoder as it was, but for `worker_failed`: then it has lost its model, and another is to be loaded.
 */
export class ClipEncoder {
  #connection;
  #helpers;

  /**
   * Use {@link ClipEncoder.load}.
   * @param {WorkerConnection} connection
   * @param {LoadParams} params
   * @param {Loaded} loaded
   */
  constructor(connection, params, loaded) {
    this.#connection = connection;
    this.#helpers = new Helpers(params, loaded);
    /** What the model is. @readonly */
    this.info = Object.freeze(loaded.info);
    /** How many threads share the work on an input. @readonly */
    this.threads = loaded.threads;
  }

  /**
   * Streams a GGUF file of CLIP weights into a new worker.
   * @param {string | URL | Blob} source a URL, relative to the page, or a file
   * @param {object} [options]
   * @param {number} [options.size] bytes of the file, for progress where the server does not tell
   * @param {number} [options.threads] at most; as many as the processor has cores, up to 8, if absent. A
   *   page that is not cross-origin isolated has one, whatever is asked for; see sw.js
   * @param {(progress: Progress) => void} [options.onProgress]
   * @param {AbortSignal} [options.signal]
   * @returns {Promise<ClipEncoder>}
   */
  static async load(source, { size, threads = defaultThreads(), onProgress, signal } = {}) {
    if (!(source instanceof Blob)) source = absoluteUrl(source);
    if (!Number.isInteger(threads) || threads < 1) {
      throw new ClipError("invalid_input", `threads is ${threads}, not a whole number from 1 on`);
    }
    const connection = new WorkerConnection();
    const params = { source, size, threads };
    try {
      return new ClipEncoder(connection, params, await connection.call("load", params, { onProgress, signal }));
    } catch (error) {
      connection.end(/** @type {ClipError} */ (error));
      throw error;
    }
  }

  /**
   * @param {string[]} texts
   * @param {EmbedOptions} [options]
   * @returns {Promise<Embeddings>}
   */
  async embedText(texts, { normalize = true, signal } = {}) {
    requireList(texts, (text) => typeof text === "string", "a string");
    const data = [];
    for (const text of texts) {
      data.push(Array.from(await this.#connection.call("embedText", { text, normalize }, { signal })));
    }
    return { data, status_code: 200 };
  }

  /**
   * A page without threads that has 16 images or more to embed loads the model again in workers beside the first,
   * as many as there are cores and room for, and they stay until the encoder is closed; `threads: 1` forbids it.
   * @param {ImageSource[]} images
   * @param {EmbedOptions} [options]
   * @returns {Promise<Embeddings>}
   */
  async embedImage(images, { normalize = true, signal } = {}) {
    requireList(images, isImageSource, "a File, a Blob, a URL, a Uint8Array or an ArrayBuffer");
    const data = await this.#helpers.share(images.length, this.#connection, async (connection, index) => {
      const image = await openImage(/** @type {ImageSource} */ (images[index]), signal);
      const transfer = image instanceof Blob ? [] : [image.buffer];
      return Array.from(await connection.call("embedImage", { image, normalize }, { signal, transfer }));
    });
    return { data, status_code: 200 };
  }

  /** Ends the workers, which frees the model's memory. Calls that still wait fail with `closed`. */
  close() {
    const closed = new ClipError("closed", "the encoder is closed; load a model again");
    this.#connection.end(closed);
    this.#helpers.end(closed);
  }
}

/** Of many cores some are slow and some are wanted elsewhere, and what cannot be shared comes to weigh more. */
const MOST_THREADS = 8;

function defaultThreads() {
  return Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
}

/**
 * @param {unknown} inputs
 * @param {(input: unknown) => boolean} isInput
 * @param {string} expected
 */
function requireList(inputs, isInput, expected) {
  if (!Array.isArray(inputs)) {
    throw new ClipError("invalid_input", `expected a list, each input ${expected}, but got ${typeOf(inputs)}`);
  }
  if (inputs.length === 0) throw new ClipError("empty_input", "the list of inputs is empty");
  for (const [index, input] of inputs.entries()) {
    if (!isInput(input)) {
      throw new ClipError("invalid_input", `input ${index} is ${typeOf(input)}, not ${expected}`);
    }
  }
}

/**
 * @param {unknown} value
 * @returns {string} to go on with "is"
 */
function typeOf(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? `a value of type ${value.constructor?.name ?? "object"}` : `a ${typeof value}`;
}

/** @param {unknown} input */
function isImageSource(input) {
  return (
    typeof input === "string" ||
    input instanceof URL ||
    input instanceof Blob ||
    input instanceof Uint8Array ||
    input instanceof ArrayBuffer
  );
}

/**
 * @param {ImageSource} source
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<Blob | Uint8Array<ArrayBuffer>>} bytes that may be transferred: the caller's are copied
 */
async function openImage(source, signal) {
  if (source instanceof Blob) return source;
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) return new Uint8Array(source).slice();
  const url = absoluteUrl(source);
  const response = await download(url, { signal });
  return response.blob();
}

/**
 * A worker would resolve a relative URL against itself rather than against the page.
 * @param {unknown} url
 * @returns {string}
 */
function absoluteUrl(url) {
  if (typeof url !== "string" && !(url instanceof URL)) {
    throw new ClipError("invalid_input", `expected a URL or a file, but got ${typeOf(url)}`);
  }
  try {
    return new URL(url, globalThis.document?.baseURI ?? location.href).href;
  } catch (cause) {
    throw new ClipError("invalid_input", `not a URL: ${url}`, { cause });
  }
}
