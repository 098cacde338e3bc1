// What is done for each image of a call: it is opened, made ready by a worker that reads pictures, and embedded.

import { openImage } from "./image-source.js";
import { imageParams } from "./options.js";
import { Timer } from "./timings.js";
import { imagesTogether, resultOf } from "./together.js";
import { onAbort, untilAborted } from "../shared/waiting.js";

/** @import { Work } from "./batch-runner.js" */
/** @import { ImageSource } from "./image-source.js" */
/** @import { EmbedOptions, ImageOptions, TimingsOption } from "./options.js" */
/** @import { PicturePool } from "./picture-pool.js" */
/** @import { ImageTimings } from "./timings.js" */
/** @import { ClipError } from "../shared/error.js" */
/** @import { DeviceInfo, LoadParams, Preprocessing } from "../shared/protocol.js" */

/**
 * An image that a tower can read: `[S, S, 3]`, RGB.
 * @typedef {{ square: Uint8Array, timer: Timer | undefined }} Ready
 */

export class ImageWork {
  #params;
  #pictures;
  /** The images that are being fetched. @type {Set<AbortController>} */
  #opening = new Set();
  /** @type {ClipError | null} why no image is opened any more */
  #ended = null;

  /**
   * @param {LoadParams} params
   * @param {PicturePool} pictures
   */
  constructor(params, pictures) {
    this.#params = params;
    this.#pictures = pictures;
  }

  /**
   * @param {ImageSource[]} images
   * @param {EmbedOptions & ImageOptions & TimingsOption<ImageTimings>} options
   * @param {DeviceInfo} device
   * @param {() => Preprocessing} preprocessing of the model, which may still be loading
   * @returns {Work<Ready, Float32Array>}
   */
  of(images, options, device, preprocessing) {
    const { normalize, signal, onTimings, ...reading } = imageParams(options);
    const { limits } = this.#params;
    const sources = [...images];
    /** @type {Timer[]} */
    const timers = [];
    return {
      count: sources.length,
      signal,
      ahead: this.#pictures.size,
      prepare: async (index) => {
        const timer = onTimings && (timers[index] = new Timer());
        const image = await this.#open(/** @type {ImageSource} */ (sources[index]), signal);
        timer?.opened();
        const square = await this.#pictures.prepare({ image, preprocessing: preprocessing(), ...reading, limits }, signal, timer?.takePicture);
        return { square, timer };
      },
      together: imagesTogether(this.#params, device),
      embed: async (worker, inputs) => {
        const squares = inputs.map(({ square }) => square);
        const onTimes = onTimings && ((/** @type {any} */ times) => inputs.forEach(({ timer }) => timer?.takeTower(times)));
        const outcomes = await worker.call("embedSquares", { squares, normalize }, { signal, onTimes });
        for (const { timer } of inputs) timer?.stop();
        return outcomes.map(resultOf);
      },
      onEmbedded: (index) => onTimings?.(/** @type {Timer} */ (timers[index]).ofImage(index)),
      isCommon: (error) => this.#pictures.isStartFailure(error),
    };
  }

  /**
   * Opens no more images. Those that are being opened fail with `error`.
   * @param {ClipError} error
   */
  end(error) {
    this.#ended ??= error;
    for (const opening of this.#opening) opening.abort();
    this.#pictures.end(error);
  }

  /**
   * @param {ImageSource} source
   * @param {AbortSignal} [signal]
   */
  async #open(source, signal) {
    const opening = new AbortController();
    if (this.#ended) opening.abort();
    const forgetSignal = onAbort(signal, () => opening.abort(signal?.reason));
    this.#opening.add(opening);
    try {
      return await untilAborted(openImage(source, this.#params.limits, opening.signal), opening.signal);
    } catch (error) {
      throw this.#ended ?? error;
    } finally {
      this.#opening.delete(opening);
      forgetSignal();
    }
  }
}
