// The public JavaScript API: CLIP's two encoders, running in a worker of this page.

import { classificationOf, meanOf, promptsOf, requireScale } from "./lib/client/classify.js";
import { openImage, requireImages } from "./lib/client/image-source.js";
import { absoluteUrl, requireTexts, requireTowers } from "./lib/client/inputs.js";
import { defaultThreads, imageParams, loadParams } from "./lib/client/options.js";
import { PicturePool } from "./lib/client/picture-pool.js";
import { RestartingWorker } from "./lib/client/restarting-worker.js";
import { similarity } from "./lib/client/similarity.js";
import { BatchRunner } from "./lib/client/batch-runner.js";
import { abortedError, ClipError, errorJson } from "./lib/shared/error.js";
import { onAbort, untilAborted } from "./lib/shared/waiting.js";
import { modelLock } from "./lib/store/model-lock.js";
import { askToPersist } from "./lib/store/persist.js";
import { Store } from "./lib/store/store.js";

/** @import { Work } from "./lib/client/batch-runner.js" */
/** @import { Loaded, LoadParams, Preprocessing } from "./lib/shared/protocol.js" */

/** @typedef {import("./lib/client/classify.js").Classification} Classification */
/** @typedef {import("./lib/client/image-source.js").ImageSource} ImageSource */
/** @typedef {import("./lib/client/image-source.js").RawPixels} RawPixels */
/** @typedef {import("./lib/client/model-source.js").ModelSource} ModelSource */
/** @typedef {import("./lib/shared/protocol.js").Warning} Warning */
/** @typedef {import("./lib/shared/protocol.js").Progress} Progress */
/** @typedef {import("./lib/shared/protocol.js").Tower} Tower */
/** @typedef {import("./lib/client/options.js").ClassifyOptions} ClassifyOptions */
/** @typedef {import("./lib/client/options.js").EmbedOptions} EmbedOptions */
/** @typedef {import("./lib/client/options.js").EmbedProgress} EmbedProgress */
/** @typedef {import("./lib/client/options.js").ImageOptions} ImageOptions */
/** @typedef {import("./lib/client/options.js").LoadOptions} LoadOptions */
/** @typedef {import("./lib/store/store.js").KeptModel} KeptModel */
/** @typedef {import("./lib/client/similarity.js").Vector} Vector */
/** @typedef {import("./lib/shared/protocol.js").ModelInfo} ModelInfo */
/** @typedef {import("./lib/shared/protocol.js").TokenizedText} TokenizedText */

export { ClipError, errorJson, similarity };

/**
 * What the hosted endpoint returns: one vector for each input, in input order.
 * @typedef {{ data: number[][], status_code: 200 }} Embeddings
 */

/**
 * The result for one image: its vector, or the error.
 * @typedef {{ index: number, vector: Float32Array } | { index: number, error: ClipError }} Embedded
 */

/**
 * Every method rejects with a {@link ClipError}, whose `code` is stable. A failed call leaves the encoder as it was. A
 * call that needs a tower whose loading has failed rejects with the error of that load.
 *
 * Any call can reject with these codes:
 * - `aborted`: its signal has aborted.
 * - `closed`: {@link ClipEncoder.close} was called.
 * - `worker_failed`: the worker stopped, for example because memory ran out. The encoder restarts by itself; queued and
 *   later calls wait for it.
 * - `encoder_lost`: the worker could not be restarted. Every later call fails in the same way: load the model again.
 */
export class ClipEncoder {
  #worker;
  #helpers;
  #pictures;
  /** The images that are being fetched. @type {Set<AbortController>} */
  #opening = new Set();
  /** @type {ClipError | null} why no call succeeds any more */
  #ended = null;
  #info;
  #memory;
  #limits;
  /** @type {Promise<void>} of the towers that are still loading, if there are any */
  #loading = Promise.resolve();

  /**
   * Use {@link ClipEncoder.load}.
   * @param {RestartingWorker} worker
   * @param {LoadParams} params
   * @param {Loaded} loaded
   */
  constructor(worker, params, loaded) {
    this.#worker = worker;
    this.#helpers = new BatchRunner(params, loaded);
    this.#pictures = new PicturePool(params);
    worker.over.then((error) => this.#end(error));
    this.#info = Object.freeze(loaded.info);
    this.#memory = Object.freeze(loaded.memory);
    this.#limits = params.limits;
    /** How many threads share the work on an input. @readonly */
    this.threads = loaded.threads;
  }

  /**
   * What is known of the model, and which of its towers are loaded.
   * @returns {Readonly<ModelInfo>}
   */
  get info() {
    return this.#info;
  }

  /**
   * Bytes of memory that the module has, and how many of them are the weights. The values of a running call are extra.
   */
  get memory() {
    return this.#memory;
  }

  /**
   * Streams CLIP weights into a new worker. Bytes from a URL are stored as they arrive: an interrupted load resumes
   * where it stopped, and the next visit needs no network.
   *
   * Rejects with
   * - `invalid_input` or `empty_input` if the source or an option is invalid;
   * - `network`, `http_status` or `io` if the file cannot be read;
   * - `model_not_found`, `access_denied` or `not_json` if the Hub does not give the model, or no list of its files;
   * - `not_a_model`, `unsupported_model`, `truncated_model`, `malformed_model`, `missing_tensor` or `corrupt_model` if
   *   the file is not a CLIP model, or is damaged; `missing_tower` if it lacks a tower that was asked for;
   * - `limit_exceeded` if the model exceeds one of the limits, `low_memory` if this device has too little memory for
   *   it;
   * - `no_wasm`, `not_wasm` or `worker_failed` if the worker or its WebAssembly module cannot start;
   * - `aborted` if the signal aborts.
   * @param {ModelSource} source a model of Hugging Face's Hub by its name (`owner/name`, `owner/name@revision`,
   *   `owner/name/file.gguf`) or the address of its page; a GGUF file by its URL, relative to the page, or as its bytes;
   *   or a checkpoint of Hugging Face transformers or open_clip. A checkpoint is given as the URL of its `.safetensors`,
   *   `pytorch_model.bin` or `open_clip_pytorch_model.bin` file, or of the index of several
   *   (`model.safetensors.index.json`, `pytorch_model.bin.index.json`), with the files of its configuration and
   *   tokenizer in the same folder; or as a list of all these files. It is converted while it is downloaded, and only
   *   the GGUF is stored. In Node a path can take the place of a URL
   * @param {LoadOptions & { threads?: number }} [options] `threads`: how many at most. The default is the number of the
   *   processor's cores, up to 8. A page that is not cross-origin isolated always has one; see sw.js
   * @returns {Promise<ClipEncoder>} with option `first`, as soon as that tower is loaded
   */
  static async load(source, { threads = defaultThreads(), ...options } = {}) {
    const params = await loadParams(source, threads, options, keptModels);
    const { signal, onProgress, onWarning = printWarning } = options;
    const worker = new RestartingWorker(params, onWarning);
    if (params.keep) askToPersist();
    return new Promise((resolve, reject) => {
      /** @type {ClipEncoder | null} */
      let encoder = null;
      const onEarly = (/** @type {Loaded} */ loaded) => {
        const early = new ClipEncoder(worker, params, loaded);
        early.#loading = whole.then((loaded) => early.#take(loaded));
        early.#loading.catch(() => {}); // callers that wait for it get the error
        resolve((encoder = early));
      };
      const whole = worker.open({ onProgress, onWarning, onEarly, signal });
      whole.then((loaded) => resolve(encoder ?? new ClipEncoder(worker, params, loaded)), reject);
    });
  }

  /**
   * Resolves when all towers that were asked for are loaded, and rejects if that fails; towers that are loaded already
   * keep working. After a `worker_replaced` warning, resolves when the model is loaded again.
   */
  get loaded() {
    return this.#loading.then(() => this.#worker.ready);
  }

  /**
   * Loads further towers of the same file. Loaded towers keep working meanwhile; calls that need a tower that is still
   * loading wait for it. Rejects with the same codes as {@link ClipEncoder.load}.
   * @param {Tower[]} towers
   * @param {Pick<LoadOptions, "onProgress" | "onWarning" | "signal">} [options]
   * @returns {Promise<void>}
   */
  async loadTowers(towers, { onProgress, onWarning = printWarning, signal } = {}) {
    requireTowers(towers);
    const load = async () => {
      const wanted = towers.filter((tower) => !this.#info.towers.includes(tower));
      if (wanted.length === 0) return;
      this.#take(await this.#worker.loadTowers(wanted, { onProgress, onWarning, signal }));
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
   * Embeds texts. A text that is longer than the model's context is truncated.
   *
   * Rejects with `invalid_input` or `empty_input` if `texts` is not a list of strings or is empty, `limit_exceeded` if
   * a text has too many bytes, `missing_tower` if the text tower is not loaded, `low_memory` if memory runs out, and
   * the codes that any call can reject with.
   * @param {string[]} texts
   * @param {EmbedOptions} [options]
   * @returns {Promise<Embeddings>} for each text a vector of `info.embeddingDimension` numbers
   */
  async embedText(texts, { normalize = true, onProgress = () => {}, signal } = {}) {
    requireTexts(texts);
    const data = [];
    await this.#waitFor("text", signal);
    for (const text of texts) {
      data.push(Array.from(await this.#worker.call("embedText", { text, normalize }, { signal })));
      onProgress({ done: data.length, total: texts.length });
    }
    return { data, status_code: 200 };
  }

  /**
   * Embeds images: files by their URLs, bytes or streams, and pixels from canvases, elements and bitmaps, which are
   * taken as they are. Of an `<img>` the file is read again, so that its vector is that of the file.
   *
   * On a page without threads, 16 images or more make the encoder load the model into further workers, up to 3, if there
   * are cores and memory for them. They stay until the encoder is closed; `threads: 1` forbids them.
   *
   * Rejects with the error of the first image that fails:
   * - `invalid_input` or `empty_input` if `images` or an option is invalid;
   * - `network`, `http_status` or `io` if an image cannot be read, or the module that reads images cannot be fetched;
   * - `unsupported_image`, `corrupt_image`, `image_too_large` or `limit_exceeded` if it cannot be decoded;
   * - `missing_tower` if the vision tower is not loaded;
   * - `low_memory` if memory runs out;
   * - the codes that any call can reject with, and `no_wasm` or `not_wasm` if the module that reads images cannot
   *   start.
   * @param {ImageSource[]} images bytes must not change before the call settles: each image is read only when the ones
   *   before it are nearly done
   * @param {EmbedOptions & ImageOptions} [options]
   * @returns {Promise<Embeddings>} for each image a vector of `info.embeddingDimension` numbers
   */
  async embedImage(images, { onProgress = () => {}, ...options } = {}) {
    requireImages(images);
    const work = this.#imageWork(images, options);
    await this.#requireVision(options.signal);
    const vectors = await this.#helpers.share(work, this.#worker, onProgress);
    return { data: vectors.map((vector) => Array.from(vector)), status_code: 200 };
  }

  /**
   * Embeds many images and yields each vector as soon as it is ready, in no fixed order. If an image fails, its error
   * is yielded and the others go on; the codes are those of {@link ClipEncoder.embedImage}. Only an error that every
   * image would have ends the iteration: `aborted`, `closed`, `encoder_lost`, `missing_tower`, `invalid_input` or
   * `empty_input` for the arguments, and any error of starting the worker that reads images or its module. If you stop
   * iterating, at most a few more images are read.
   * @param {ImageSource[]} images
   * @param {Omit<EmbedOptions, "onProgress"> & ImageOptions} [options]
   * @returns {AsyncGenerator<Embedded, void, void>} vectors of `info.embeddingDimension` numbers
   */
  async *embedEach(images, options = {}) {
    requireImages(images);
    const work = this.#imageWork(images, options);
    await this.#requireVision(options.signal);
    for await (const outcome of this.#helpers.each(work, this.#worker)) {
      if (options.signal?.aborted) throw abortedError(options.signal);
      yield "error" in outcome ? outcome : { index: outcome.index, vector: outcome.value };
    }
  }

  /**
   * Zero-shot classification: which of the labels fits an image best. Each call embeds the labels again.
   *
   * Rejects with `invalid_input` or `empty_input` if the labels or an option are invalid, and with the codes of
   * {@link ClipEncoder.embedText} and {@link ClipEncoder.embedImage}.
   * @param {ImageSource[]} images
   * @param {string[]} labels
   * @param {ClassifyOptions & ImageOptions} [options]
   * @returns {Promise<Classification[][]>} for each image every label, the best first
   */
  async classify(images, labels, options = {}) {
    const { template = "a photo of a {}", logitScale = this.#info.logitScale, onProgress = () => {}, signal, ...reading } = options;
    requireImages(images);
    imageParams(reading);
    requireScale(logitScale);
    const prompts = promptsOf(labels, template);
    const texts = prompts.flat();
    const total = texts.length + images.length;
    const { data } = await this.embedText(texts, { signal, onProgress: ({ done }) => onProgress({ done, total }) });
    const share = texts.length / labels.length;
    const vectors = prompts.map((_, i) => meanOf(data.slice(i * share, (i + 1) * share)));
    const told = (/** @type {EmbedProgress} */ { done }) => onProgress({ done: texts.length + done, total });
    const embedded = await this.embedImage(images, { ...reading, signal, onProgress: told });
    return embedded.data.map((image) => classificationOf(image, labels, vectors, logitScale));
  }

  /**
   * The tokens of texts, the same as from Hugging Face's CLIPTokenizer. Rejects with the same codes as
   * {@link ClipEncoder.embedText}.
   * @param {string[]} texts
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<TokenizedText[]>}
   */
  async tokenize(texts, { signal } = {}) {
    requireTexts(texts);
    await this.#waitFor("text", signal);
    return this.#worker.call("tokenize", { texts }, { signal });
  }

  /**
   * @param {ImageSource[]} images
   * @param {EmbedOptions & ImageOptions} options
   * @returns {Work<Uint8Array, Float32Array>}
   */
  #imageWork(images, { signal, ...options }) {
    const { normalize, ...reading } = imageParams(options);
    const sources = [...images];
    return {
      count: sources.length,
      ahead: this.#pictures.size,
      prepare: async (index) => {
        const image = await this.#open(/** @type {ImageSource} */ (sources[index]), signal);
        const preprocessing = /** @type {Preprocessing} */ (this.#info.preprocessing);
        return this.#pictures.prepare({ image, preprocessing, ...reading, limits: this.#limits }, signal);
      },
      embed: (worker, pixels) => worker.call("embedSquare", { pixels, normalize }, { signal }),
      isCommon: (error) => this.#pictures.isStartFailure(error),
    };
  }

  /**
   * Opens an image, until the encoder ends.
   * @param {ImageSource} source
   * @param {AbortSignal} [signal]
   */
  async #open(source, signal) {
    const opening = new AbortController();
    if (this.#ended) opening.abort();
    const forgetSignal = onAbort(signal, () => opening.abort(signal?.reason));
    this.#opening.add(opening);
    try {
      return await openImage(source, this.#limits, opening.signal);
    } catch (error) {
      throw this.#ended ?? error;
    } finally {
      this.#opening.delete(opening);
      forgetSignal();
    }
  }

  /**
   * Waits for the vision tower if it is still loading. If there is none, fails here, before any picture is read.
   * @param {AbortSignal} [signal]
   */
  async #requireVision(signal) {
    await this.#waitFor("vision", signal);
    if (!this.#info.preprocessing) await this.#worker.call("embedSquare", { pixels: new Uint8Array(), normalize: true });
  }

  /**
   * Waits for a tower that is still loading. If none is loading, the worker fails the call with `missing_tower`.
   * @param {Tower} tower
   * @param {AbortSignal} [signal]
   */
  async #waitFor(tower, signal) {
    if (this.#info.towers.includes(tower)) return;
    const loaded = this.#loading.catch((error) => {
      if (error.code !== "aborted") throw error;
    });
    await untilAborted(loaded, signal);
  }

  /** Ends the workers, which frees the model's memory. Pending and later calls fail with `closed`. */
  close() {
    const closed = new ClipError("closed", "the encoder is closed; load a model again");
    this.#worker.end(closed);
    this.#end(closed);
  }

  /** @param {ClipError} error that pending calls fail with */
  #end(error) {
    this.#ended ??= error;
    for (const opening of this.#opening) opening.abort();
    this.#helpers.end(error);
    this.#pictures.end(error);
  }
}

/**
 * The models that are stored on this device, with the URLs they were loaded from.
 * @returns {Promise<KeptModel[]>}
 */
export async function keptModels() {
  const stores = await Store.all();
  return (await Promise.all(stores.map((store) => store.list()))).flat();
}

/**
 * Deletes a stored model. Rejects with `in_use` while the model is being loaded.
 * @param {string | URL} url
 * @returns {Promise<void>}
 */
export async function deleteKeptModel(url) {
  const address = absoluteUrl(url);
  const stores = await Store.all();
  await modelLock(address, { ifAvailable: true }, async (lock) => {
    if (!lock && globalThis.navigator?.locks) throw new ClipError("in_use", "this model is being loaded; try again when it is loaded");
    await Promise.all(stores.map((store) => store.delete(address)));
  });
}

/** @param {Warning} warning */
function printWarning({ message }) {
  console.warn(`clip-wasm: ${message}`);
}
