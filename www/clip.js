// The public JavaScript API: CLIP's two encoders, running in a worker of this page.

import { classificationOf, meanOf, promptsOf, requireScale } from "./lib/client/classify.js";
import { absoluteUrl, openImage, requireImages, requireList, requireTexts, requireTowers } from "./lib/client/inputs.js";
import { defaultThreads, imageParams, loadParams } from "./lib/client/options.js";
import { PicturePool } from "./lib/client/picture-pool.js";
import { RestartingWorker } from "./lib/client/restarting-worker.js";
import { similarity } from "./lib/client/similarity.js";
import { WorkerPool } from "./lib/client/worker-pool.js";
import { download } from "./lib/shared/download.js";
import { abortedError, ClipError, errorJson } from "./lib/shared/error.js";
import { isWeightsName, refuseHubPages } from "./lib/shared/weight-file-names.js";
import { modelLock } from "./lib/store/model-lock.js";
import { Store } from "./lib/store/store.js";

/** @import { Work } from "./lib/client/worker-pool.js" */
/** @import { Loaded, LoadParams, Preprocessing } from "./lib/shared/protocol.js" */

/** @typedef {import("./lib/client/classify.js").Classification} Classification */
/** @typedef {import("./lib/client/inputs.js").ImageSource} ImageSource a string is a URL */
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
 * What the hosted endpoint prints: one list an input, in input order.
 * @typedef {{ data: number[][], status_code: 200 }} Embeddings
 */

/**
 * What became of one image: its vector, or why it has none.
 * @typedef {{ index: number, vector: Float32Array } | { index: number, error: ClipError }} Embedded
 */

/**
 * Every method rejects with a {@link ClipError}, whose `code` is stable. A failed call leaves the encoder as it was.
 * With `worker_failed` too: what the encoder runs in has stopped, as for want of memory, and it starts anew by itself;
 * calls that had not begun, and later ones, wait for it. What no longer starts ends with `encoder_lost`, as every call
 * does then: load the model anew.
 */
export class ClipEncoder {
  #worker;
  #helpers;
  #pictures = new PicturePool();
  #info;
  #memory;
  #limits;
  /** @type {Promise<void>} of what is coming, if anything is */
  #loading = Promise.resolve();

  /**
   * Use {@link ClipEncoder.load}.
   * @param {RestartingWorker} worker
   * @param {LoadParams} params
   * @param {Loaded} loaded
   */
  constructor(worker, params, loaded) {
    this.#worker = worker;
    this.#helpers = new WorkerPool(params, loaded);
    worker.over.then((error) => this.#end(error));
    this.#info = Object.freeze(loaded.info);
    this.#memory = Object.freeze(loaded.memory);
    this.#limits = params.limits;
    /** How many threads share the work on an input. @readonly */
    this.threads = loaded.threads;
  }

  /**
   * What the model is, and which of its towers are loaded.
   * @returns {Readonly<ModelInfo>}
   */
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
   * @param {string | URL | Blob | Uint8Array | ArrayBuffer | File[]} source a GGUF file, as a URL, relative to the
   *   page, or as it is; or a checkpoint of Hugging Face transformers or open_clip, as the URL of its `.safetensors`
   *   file (or of `model.safetensors.index.json`), or of its `pytorch_model.bin` or `open_clip_pytorch_model.bin` (or of
   *   `pytorch_model.bin.index.json`), with the files of its configuration and tokenizer beside it, or as all these files
   *   in a list. A checkpoint is converted as it comes, and the GGUF is what is kept. In Node a path
   *   does for a URL
   * @param {LoadOptions & { threads?: number }} [options] `threads`: at most; as many as the processor has cores, up
   *   to 8, if absent. A page that is not cross-origin isolated has one, whatever is asked for; see sw.js
   * @returns {Promise<ClipEncoder>}
   */
  static async load(source, { threads = defaultThreads(), ...options } = {}) {
    if (source instanceof File && isWeightsName(source.name)) source = [source];
    if (source instanceof Uint8Array || source instanceof ArrayBuffer) source = new Blob([/** @type {BlobPart} */ (source)]);
    if (Array.isArray(source)) requireList(source, (file) => file instanceof File, "a File");
    else if (!(source instanceof Blob)) source = absoluteUrl(source);
    if (!Number.isInteger(threads) || threads < 1) {
      throw new ClipError("invalid_input", `threads is ${threads}, not a whole number from 1 on`);
    }
    if (typeof source === "string") refuseHubPages(source);
    // Such a URL is the page's own: on one opened from a disk, not even its worker may read it.
    if (typeof source === "string" && source.startsWith("blob:")) source = await (await download(source, { signal: options.signal })).blob();
    const params = loadParams(source, threads, options);
    const { signal, onProgress, onWarning = printWarning } = options;
    if (signal?.aborted) throw abortedError(signal);
    const worker = new RestartingWorker(params, onWarning);
    if (params.keep) askToPersist();
    return new Promise((resolve, reject) => {
      /** @type {ClipEncoder | null} */
      let encoder = null;
      const onEarly = (/** @type {Loaded} */ loaded) => {
        const early = new ClipEncoder(worker, params, loaded);
        early.#loading = whole.then((loaded) => early.#take(loaded));
        early.#loading.catch(() => {}); // it is told to whoever waits for it
        resolve((encoder = early));
      };
      const whole = worker.open({ onProgress, onWarning, onEarly, signal });
      whole.then((loaded) => resolve(encoder ?? new ClipEncoder(worker, params, loaded)), reject);
    });
  }

  /**
   * Settles when all that was asked for has come, or has failed to; what has come before goes on working. After a
   * `worker_replaced` warning, when it has come again.
   */
  get loaded() {
    return this.#loading.then(() => this.#worker.ready);
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
   * @param {string[]} texts
   * @param {EmbedOptions} [options]
   * @returns {Promise<Embeddings>}
   */
  async embedText(texts, { normalize = true, onProgress = () => {}, signal } = {}) {
    requireTexts(texts);
    const data = [];
    await this.#waitFor("text");
    for (const text of texts) {
      data.push(Array.from(await this.#worker.call("embedText", { text, normalize }, { signal })));
      onProgress({ done: data.length, total: texts.length });
    }
    return { data, status_code: 200 };
  }

  /**
   * A page without threads that has 16 images or more to embed loads the model again in workers beside the first,
   * as many as there are cores and room for, and they stay until the encoder is closed; `threads: 1` forbids it.
   * @param {ImageSource[]} images
   * @param {EmbedOptions & ImageOptions} [options]
   * @returns {Promise<Embeddings>}
   */
  async embedImage(images, { onProgress = () => {}, ...options } = {}) {
    requireImages(images);
    const work = this.#imageWork(images, options);
    await this.#requireVision();
    const vectors = await this.#helpers.share(work, this.#worker, onProgress);
    return { data: vectors.map((vector) => Array.from(vector)), status_code: 200 };
  }

  /**
   * The vectors of many images, each as soon as it is ready, in the order in which they become so. An image that
   * fails stops no other; only what would fail for all (`aborted`, `closed`, `encoder_lost`, `missing_tower`)
   * ends the iteration, with that error. Whoever stops taking has no more images read than a few ahead.
   * @param {ImageSource[]} images
   * @param {Omit<EmbedOptions, "onProgress"> & ImageOptions} [options]
   * @returns {AsyncGenerator<Embedded, void, void>}
   */
  async *embedEach(images, options = {}) {
    requireImages(images);
    const work = this.#imageWork(images, options);
    await this.#requireVision();
    for await (const outcome of this.#helpers.each(work, this.#worker)) {
      if (options.signal?.aborted) throw abortedError(options.signal);
      yield "error" in outcome ? outcome : { index: outcome.index, vector: outcome.value };
    }
  }

  /**
   * Zero-shot classification: which of the labels fits an image best. Labels are embedded anew by each call.
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
   * The tokens that texts become, as Hugging Face's CLIPTokenizer gives them.
   * @param {string[]} texts
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<TokenizedText[]>}
   */
  async tokenize(texts, { signal } = {}) {
    requireTexts(texts);
    await this.#waitFor("text");
    return this.#worker.call("tokenize", { texts }, { signal });
  }

  /**
   * @param {ImageSource[]} images
   * @param {EmbedOptions & ImageOptions} options
   * @returns {Work<Uint8Array, Float32Array>}
   */
  #imageWork(images, { signal, ...options }) {
    const { normalize, ...reading } = imageParams(options);
    return {
      count: images.length,
      ahead: this.#pictures.size,
      prepare: async (index) => {
        const image = await openImage(/** @type {ImageSource} */ (images[index]), this.#limits, signal);
        const preprocessing = /** @type {Preprocessing} */ (this.#info.preprocessing);
        return this.#pictures.prepare({ image, preprocessing, ...reading, limits: this.#limits }, signal);
      },
      embed: (worker, pixels) => worker.call("embedPixels", { pixels, normalize }, { signal }),
    };
  }

  /** Waits for the vision tower if it is coming; otherwise its absence fails here, before any picture is read. */
  async #requireVision() {
    await this.#waitFor("vision");
    if (!this.#info.preprocessing) await this.#worker.call("embedPixels", { pixels: new Uint8Array(), normalize: true });
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
    this.#worker.end(closed);
    this.#end(closed);
  }

  /** @param {ClipError} error for what waits */
  #end(error) {
    this.#helpers.end(error);
    this.#pictures.end(error);
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
    if (!lock && globalThis.navigator?.locks) throw new ClipError("in_use", "this model is being loaded; try again when it has come");
    await store?.delete(address);
  });
}

/** @param {Warning} warning */
function printWarning({ message }) {
  console.warn(`clip-wasm: ${message}`);
}

/**
 * Without this the browser may delete what is kept when the disk fills up. It may refuse, or, as Firefox does, ask the
 * user; who has not done anything on the page yet is not to be asked for anything.
 */
function askToPersist() {
  const { storage, userActivation } = globalThis.navigator ?? {};
  if (userActivation?.hasBeenActive !== false) storage?.persist?.().catch(() => {});
}
