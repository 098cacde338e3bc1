// The public JavaScript API: CLIP's two encoders, running in a worker of this page.

import { WorkerConnection } from "./connection.js";
import { abortedError, ClipError, errorJson } from "./error.js";
import { Helpers } from "./helpers.js";
import { absoluteUrl, openImage, requireImages, requireList, requireTexts, requireTowers } from "./inputs.js";
import { modelLock, Store } from "./store.js";

/** @import { Loaded, LoadParams } from "./worker.js" */

/** @typedef {import("./inputs.js").ImageSource} ImageSource a string is a URL */
/** @typedef {import("./keeper.js").Warning} Warning */
/** @typedef {import("./loading.js").Progress} Progress */
/** @typedef {import("./loading.js").Tower} Tower */
/** @typedef {import("./store.js").KeptModel} KeptModel */

export { ClipError, errorJson };

/**
 * What the hosted endpoint prints: one list an input, in input order.
 * @typedef {{ data: number[][], status_code: 200 }} Embeddings
 */

/**
 * @typedef {object} EmbedOptions
 * @property {boolean} [normalize] to unit length (L2), which is the default; otherwise the raw projection
 * @property {(progress: EmbedProgress) => void} [onProgress] told after each input
 * @property {AbortSignal} [signal]
 */

/** @typedef {{ done: number, total: number }} EmbedProgress in inputs */

/**
 * What became of one image: its vector, or why it has none.
 * @typedef {{ index: number, vector: Float32Array } | { index: number, error: ClipError }} Embedded
 */

/**
 * @typedef {object} LoadOptions
 * @property {Tower[]} [towers] only these, where a text or an image is all that is to be embedded: where the
 *   server gives parts of a file, no more is fetched. Both, or those that the file has, if absent
 * @property {Tower} [first] the tower that is to come first, where both are loaded: the encoder is given as soon as
 *   it has come, the other goes on loading, calls that need it wait, and {@link ClipEncoder.loaded} tells its end
 * @property {string} [type] that a checkpoint is converted to: `q8_0` if absent, or f32, f16, q5_1, q5_0, q4_1, q4_0
 * @property {"gelu" | "quick_gelu"} [activation] of a checkpoint whose configuration does not tell, or is wrong
 * @property {number} [size] bytes of the file, for progress where the server does not tell
 * @property {string} [sha256] of the file, in hexadecimal: what differs is refused and not kept
 * @property {(string | URL)[]} [mirrors] further addresses of the same file, asked in turn when the one before fails
 * @property {boolean} [keep] whether to keep what comes from a URL for the next visit, which is the default
 * @property {number} [idleTimeout] milliseconds without a byte after which a connection is taken up anew; 20 s if
 *   absent
 * @property {boolean} [ignoreMemory] whether to load what this device is not likely to have memory for
 * @property {(progress: Progress) => void} [onProgress]
 * @property {(warning: Warning) => void} [onWarning] told what went wrong where the model runs all the same; it is
 *   printed to the console if absent
 * @property {AbortSignal} [signal]
 */

/**
 * Every method rejects with a {@link ClipError}, whose `code` is stable. A failed call leaves the
 * encoder as it was, but for `worker_failed`: then it has lost its model, and another is to be loaded.
 */
export class ClipEncoder {
  #connection;
  #helpers;
  #params;
  #info;
  #memory;
  /** @type {Promise<void>} of what is coming, if anything is */
  #loading = Promise.resolve();

  /**
   * Use {@link ClipEncoder.load}.
   * @param {WorkerConnection} connection
   * @param {LoadParams} params
   * @param {Loaded} loaded
   */
  constructor(connection, params, loaded) {
    this.#connection = connection;
    this.#params = params;
    this.#helpers = new Helpers(params, loaded);
    this.#info = Object.freeze(loaded.info);
    this.#memory = Object.freeze(loaded.memory);
    /** How many threads share the work on an input. @readonly */
    this.threads = loaded.threads;
  }

  /** What the model is, and which of its towers are loaded. */
  get info() {
    return this.#info;
  }

  /** Bytes of memory that the module has, and of them those of the weights; its values of the moment come on top. */
  get memory() {
    return this.#memory;
  }

  /**
   * Streams CLIP weights into a new worker. What comes from a URL is kept on the way: an interrupted load goes on
   * where it was, and the next visit needs no network.
   * @param {string | URL | Blob | File[]} source a GGUF file, as a URL, relative to the page, or as it is; or a
   *   checkpoint of Hugging Face transformers or open_clip, as the URL of its `.safetensors` file (or of
   *   `model.safetensors.index.json`) with the files of its configuration and tokenizer beside it, or as all these
   *   files in a list. A checkpoint is converted as it comes, and the GGUF is what is kept
   * @param {LoadOptions & { threads?: number }} [options] `threads`: at most; as many as the processor has cores, up
   *   to 8, if absent. A page that is not cross-origin isolated has one, whatever is asked for; see sw.js
   * @returns {Promise<ClipEncoder>}
   */
  static async load(source, { threads = defaultThreads(), ...options } = {}) {
    if (source instanceof File && /\.safetensors$/i.test(source.name)) source = [source];
    if (Array.isArray(source)) requireList(source, (file) => file instanceof File, "a File");
    else if (!(source instanceof Blob)) source = absoluteUrl(source);
    if (!Number.isInteger(threads) || threads < 1) {
      throw new ClipError("invalid_input", `threads is ${threads}, not a whole number from 1 on`);
    }
    const params = loadParams(source, threads, options);
    const { signal, onProgress, onWarning = printWarning } = options;
    const connection = new WorkerConnection();
    if (params.keep) askToPersist();
    return new Promise((resolve, reject) => {
      /** @type {ClipEncoder | null} */
      let encoder = null;
      const onEarly = (/** @type {Loaded} */ loaded) => {
        const early = new ClipEncoder(connection, params, loaded);
        early.#loading = whole.then((loaded) => early.#take(loaded));
        early.#loading.catch(() => {}); // it is told to whoever waits for it
        resolve((encoder = early));
      };
      const whole = connection.call("load", params, { onProgress, onWarning, onEarly, signal });
      whole.then(
        (loaded) => resolve(new ClipEncoder(connection, params, loaded)),
        (error) => {
          if (!encoder) connection.end(error);
          reject(error);
        },
      );
    });
  }

  /** Settles when all that was asked for has come, or has failed to; what has come before goes on working. */
  get loaded() {
    return this.#loading;
  }

  /**
   * Loads further towers of the same file. What the encoder has already goes on working meanwhile, and calls that
   * need what is coming wait for it.
   * @param {Tower[]} towers
   * @param {Pick<LoadOptions, "onProgress" | "onWarning" | "signal">} [options]
   * @returns {Promise<void>}
   */
  async loadTowers(towers, { onProgress, onWarning = printWarning, signal } = {}) {
    requireTowers(towers);
    const load = async () => {
      const wanted = towers.filter((tower) => !this.#info.towers.includes(tower));
      if (wanted.length === 0) return;
      const params = { ...this.#params, towers: wanted, first: undefined };
      const loaded = await this.#connection.call("load", params, { onProgress, onWarning, signal });
      this.#take(loaded);
    };
    this.#loading = this.#loading.catch(() => {}).then(load);
    await this.#loading;
  }

  /** @param {Loaded} loaded */
  #take({ info, memory }) {
    this.#info = Object.freeze(info);
    this.#memory = Object.freeze(memory);
  }

  /**
   * @param {string[]} texts
   * @param {EmbedOptions} [options]
   * @returns {Promise<Embeddings>}
   */
  async embedText(texts, { normalize = true, onProgress = () => {}, signal } = {}) {
    requireTexts(texts);
    const data = [];
    await this.#waitFor("text");
    for (const text of texts) {
      data.push(Array.from(await this.#connection.call("embedText", { text, normalize }, { signal })));
      onProgress({ done: data.length, total: texts.length });
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
  async embedImage(images, { onProgress = () => {}, ...options } = {}) {
    requireImages(images);
    await this.#waitFor("vision");
    const work = this.#imageWork(images, options);
    const vectors = await this.#helpers.share(images.length, this.#connection, work, onProgress);
    return { data: vectors.map((vector) => Array.from(vector)), status_code: 200 };
  }

  /**
   * The vectors of many images, each as soon as it is ready, in the order in which they become so. An image that
   * fails stops no other; only what would fail for all (`aborted`, `closed`, `worker_failed`, `missing_tower`)
   * ends the iteration, with that error. Whoever stops taking has no more images read than a few ahead.
   * @param {ImageSource[]} images
   * @param {Omit<EmbedOptions, "onProgress">} [options]
   * @returns {AsyncGenerator<Embedded, void, void>}
   */
  async *embedEach(images, options = {}) {
    requireImages(images);
    await this.#waitFor("vision");
    const work = this.#imageWork(images, options);
    for await (const outcome of this.#helpers.each(images.length, this.#connection, work)) {
      if (options.signal?.aborted) throw abortedError(options.signal);
      yield "error" in outcome ? outcome : { index: outcome.index, vector: outcome.value };
    }
  }

  /**
   * @param {ImageSource[]} images
   * @param {EmbedOptions} options
   * @returns {(connection: WorkerConnection, index: number) => Promise<Float32Array>}
   */
  #imageWork(images, { normalize = true, signal }) {
    return async (connection, index) => {
      const image = await openImage(/** @type {ImageSource} */ (images[index]), signal);
      const transfer = image instanceof Blob ? [] : [image.buffer];
      return connection.call("embedImage", { image, normalize }, { signal, transfer });
    };
  }

  /**
   * Waits for a tower that is coming; the worker says so where none is.
   * @param {Tower} tower
   */
  async #waitFor(tower) {
    if (this.#info.towers.includes(tower)) return;
    await this.#loading.catch((error) => {
      if (error.code !== "aborted") throw error;
    });
  }

  /** Ends the workers, which frees the model's memory. Calls that still wait fail with `closed`. */
  close() {
    const closed = new ClipError("closed", "the encoder is closed; load a model again");
    this.#connection.end(closed);
    this.#helpers.end(closed);
  }
}

/**
 * The models that are kept on this device, by the URLs they were loaded from.
 * @returns {Promise<KeptModel[]>}
 */
export async function keptModels() {
  return (await Store.open())?.list() ?? [];
}

/**
 * Deletes what is kept of a model. Fails with `in_use` while it is being loaded.
 * @param {string | URL} url
 * @returns {Promise<void>}
 */
export async function deleteKeptModel(url) {
  const address = absoluteUrl(url);
  const store = await Store.open();
  await modelLock(address, { ifAvailable: true }, async (lock) => {
    if (!lock && navigator.locks) throw new ClipError("in_use", "this model is being loaded; try again when it has come");
    await store?.delete(address);
  });
}

/**
 * @param {string | Blob | File[]} source
 * @param {number} threads
 * @param {LoadOptions} options
 * @returns {LoadParams}
 */
function loadParams(source, threads, { type = "q8_0", activation, towers, first, size, sha256, mirrors = [], keep = true, idleTimeout = 20_000, ignoreMemory = false }) {
  if (towers !== undefined) requireTowers(towers);
  if (first !== undefined) requireTowers([first]);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new ClipError("invalid_input", "sha256 is not 64 hexadecimal digits");
  }
  return {
    source,
    threads,
    type,
    activation,
    towers,
    first,
    size,
    sha256: sha256?.toLowerCase(),
    mirrors: mirrors.map(absoluteUrl),
    keep: keep && typeof source === "string",
    idleTimeout,
    ignoreMemory,
  };
}

/** @param {Warning} warning */
function printWarning({ message }) {
  console.warn(`clip-wasm: ${message}`);
}

/** Without this the browser may delete what is kept when the disk fills up; it may ask the user, or refuse. */
function askToPersist() {
  globalThis.navigator?.storage?.persist?.().catch(() => {});
}

/** Of many cores some are slow and some are wanted elsewhere, and what cannot be shared comes to weigh more. */
const MOST_THREADS = 8;

function defaultThreads() {
  return Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
}
