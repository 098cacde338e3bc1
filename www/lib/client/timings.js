// Where the time of an input goes: what the workers have measured, and what is left of the whole.

/** @import { PictureTimes, TowerTimes } from "../shared/protocol.js" */

/**
 * Where the time of an image goes, in milliseconds. `read`, `decode`, `resize`, `tower` and `waiting` add up to `total`.
 * @typedef {object} ImageTimings
 * @property {number} index of the image in the call
 * @property {number} read its file is fetched and read, or its element is drawn
 * @property {number} decode the file becomes pixels
 * @property {number} resize the pixels become the square that the model reads: resize and crop
 * @property {number} tower what the tower takes, with normalising the pixels, projection and unit length, for all `batch`
 *   images together. None of them is ready sooner; an image's share is `tower / batch`
 * @property {number} batch how many images the tower was given together
 * @property {number} waiting the rest: for a worker to start or to become free, for images that go through the tower
 *   first, and on the way between workers
 * @property {"wasm" | "browser" | null} decoder what decoded it: this library; or the browser, for formats such as AVIF
 *   and HEIC; `null` if pixels were given, which are only copied
 * @property {number} total from the moment when the image is begun, which is some images before its turn, until its
 *   vector is there
 */

/**
 * Where the time of a text goes, in milliseconds. `tower` and `waiting` add up to `total`.
 * @typedef {object} TextTimings
 * @property {number} index of the text in the call
 * @property {number} tower what the tower takes, with tokenising, projection and unit length, for all `batch` texts
 *   together. None of them is ready sooner; a longer text has a larger share
 * @property {number} batch how many texts the tower was given together
 * @property {number} waiting the rest: for a worker to become free, and on the way to it
 * @property {number} total from the moment when its batch is sent until its vector is there
 */

/** Measures one image, or texts that go through the tower together. */
export class Timer {
  #start = performance.now();
  #opened = 0;
  #total = 0;
  /** @type {PictureTimes} */
  #picture = { read: 0, decode: 0, resize: 0, decoder: null };
  /** @type {TowerTimes} */
  #tower = { tower: 0, batch: 1 };

  /** The image has been fetched, or drawn. */
  opened() {
    this.#opened = performance.now() - this.#start;
  }

  takePicture = (/** @type {PictureTimes} */ times) => void (this.#picture = times);

  /** Of a call that is repeated, the last run counts. */
  takeTower = (/** @type {TowerTimes} */ times) => void (this.#tower = times);

  /** The vector is there. */
  stop() {
    this.#total = performance.now() - this.#start;
  }

  /**
   * @param {number} index
   * @returns {ImageTimings}
   */
  ofImage(index) {
    const { decode, resize, decoder } = this.#picture;
    const { tower, batch } = this.#tower;
    const read = this.#opened + this.#picture.read;
    return { index, read, decode, resize, tower, batch, waiting: this.#without(read + decode + resize + tower), decoder, total: this.#total };
  }

  /**
   * @param {number} index
   * @returns {TextTimings}
   */
  ofText(index) {
    return { index, ...this.#tower, waiting: this.#without(this.#tower.tower), total: this.#total };
  }

  /** @param {number} measured by clocks that may be coarse, so that the rest could be below zero by a tick */
  #without(measured) {
    return Math.max(0, this.#total - measured);
  }
}
