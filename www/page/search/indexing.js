// The indexing: takes pictures from a queue, embeds them with all of the encoder's workers, and adds them to a
// collection.

import { errorJson } from "../../clip.js";
import { fullPath, isWithin } from "./folder.js";
import { makeThumbnail } from "./thumbnail.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Collection } from "./collection.js" */
/** @import { Picture } from "./folder.js" */

/**
 * The collection that pictures are added to, and the encoder that embeds them.
 * @typedef {object} Target
 * @property {() => Promise<{ encoder: ClipEncoder, collection: Collection }>} open
 * @property {() => void} onEncoderLost called when the encoder cannot restart; the next call of `open` gives another
 */

/** Pictures that are passed to the encoder at once. */
const CHUNK = 64;
/** After so many lost encoders in a row, with no picture done in between, indexing stops. */
const MOST_LOSSES = 3;
/** Thumbnails made at once: each needs the memory of a whole decoded picture. */
const LANES = 2;
/** The speed is measured over at least and at most so many pictures. */
const LEAST_MEASURED = 6;
const MOST_MEASURED = 50;

export class Indexing {
  #onChange;
  /** @type {Target | null} */
  #target = null;
  /** @type {Map<string, Picture>} by full path */
  #queue = new Map();
  /** @type {AbortController | null} of the current run */
  #running = null;
  /** @type {number[]} times at which the last pictures were done, in milliseconds */
  #times = [];

  /** Pictures done since the queue was last empty, failures included. */
  done = 0;
  /** @type {Map<string, unknown>} the error of each picture that failed, by full path */
  failures = new Map();
  /** @type {unknown} what stopped the last run, if it was not the user */
  error = null;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @returns {"idle" | "running" | "paused"} */
  get state() {
    if (this.#running) return "running";
    return this.#queue.size > 0 ? "paused" : "idle";
  }

  /** Pictures since the queue was last empty. */
  get total() {
    return this.done + this.#queue.size;
  }

  /** Pictures per second; `null` until enough are done to measure it. */
  get speed() {
    const [first, last] = [this.#times[0], this.#times.at(-1)];
    if (first === undefined || last === undefined || last === first || this.#times.length < LEAST_MEASURED) return null;
    return ((this.#times.length - 1) / (last - first)) * 1000;
  }

  /**
   * Adds pictures to the queue, and starts or resumes the indexing.
   * @param {Target} target
   * @param {Iterable<Picture>} pictures
   */
  add(target, pictures) {
    if (this.#queue.size === 0) this.done = 0;
    this.#target = target;
    for (const picture of pictures) {
      this.#queue.set(fullPath(picture), picture);
      this.failures.delete(fullPath(picture));
    }
    this.resume();
  }

  resume() {
    if (this.#running || !this.#target || this.#queue.size === 0) return;
    this.#running = new AbortController();
    this.error = null;
    this.#times = [];
    keepAwake(this.#run(this.#target, this.#running.signal));
    this.#onChange();
  }

  /** Aborts what is being computed. Its pictures stay in the queue. */
  pause() {
    if (!this.#running) return;
    this.#running.abort();
    this.#running = null;
    this.#onChange();
  }

  /** Removes a folder's pictures from the queue, or all. @param {string} [folder] */
  drop(folder) {
    const goesOn = this.state === "running";
    this.pause();
    for (const path of [...this.#queue.keys()]) if (isWithin(folder, path)) this.#queue.delete(path);
    this.forgetFailures(folder);
    if (goesOn) this.resume();
    this.#onChange();
  }

  /** @param {string} [folder] */
  forgetFailures(folder) {
    for (const path of [...this.failures.keys()]) if (isWithin(folder, path)) this.failures.delete(path);
  }

  /**
   * @param {string} path the full one
   * @param {unknown} error
   */
  fail(path, error) {
    this.failures.set(path, error);
  }

  /**
   * @param {Target} target
   * @param {AbortSignal} signal
   */
  async #run(target, signal) {
    try {
      await this.#embedAll(target, signal);
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
    if (signal.aborted) return;
    this.#running = null;
    this.#onChange();
  }

  /**
   * @param {Target} target
   * @param {AbortSignal} signal
   */
  async #embedAll(target, signal) {
    let { encoder, collection } = await target.open();
    let size = CHUNK;
    let losses = 0;
    while (this.#queue.size > 0 && !signal.aborted) {
      const pictures = [...this.#queue.values()].slice(0, size);
      const before = this.done;
      try {
        await this.#embedChunk(encoder, collection, pictures, signal);
        size = Math.min(2 * size, CHUNK);
      } catch (error) {
        const { code } = errorJson(error).error;
        if (signal.aborted || (code !== "encoder_lost" && code !== "closed")) throw error;
        const ended = encoder;
        if (code === "encoder_lost") {
          losses = this.done > before ? 1 : losses + 1;
          if (losses > MOST_LOSSES) throw error;
          // One picture may be killing the encoder: retry each alone to find it without failing the others.
          if (pictures.length === 1 && pictures[0]) this.#settle(pictures[0], error);
          size = 1;
          target.onEncoderLost();
        }
        // Or another model was loaded, which closes this encoder. Opening that model's collection ends this run, unless its
        // weights are the same.
        ({ encoder, collection } = await target.open());
        if (code === "closed" && encoder === ended) throw error;
      } finally {
        await collection.flush();
      }
    }
  }

  /**
   * @param {ClipEncoder} encoder
   * @param {Collection} collection
   * @param {Picture[]} pictures
   * @param {AbortSignal} signal
   */
  async #embedChunk(encoder, collection, pictures, signal) {
    const lanes = Array.from({ length: LANES }, () => Promise.resolve());
    const files = pictures.map(({ file }) => file);
    let taken = 0;
    try {
      for await (const embedded of encoder.embedEach(files, { signal })) {
        const picture = /** @type {Picture} */ (pictures[embedded.index]);
        if ("error" in embedded) {
          this.#settle(picture, embedded.error);
          continue;
        }
        const lane = taken++ % LANES;
        await lanes[lane];
        lanes[lane] = makeThumbnail(picture.file).then((thumbnail) => {
          if (signal.aborted) return;
          collection.add(picture, embedded.vector, thumbnail);
          this.#settle(picture);
        });
      }
    } finally {
      await Promise.all(lanes);
    }
  }

  /**
   * @param {Picture} picture
   * @param {unknown} [error]
   */
  #settle(picture, error) {
    const path = fullPath(picture);
    if (this.#queue.get(path) === picture) this.#queue.delete(path); // unless a newer version of the file is queued
    if (error) this.fail(path, error);
    this.done++;
    this.#times.push(performance.now());
    if (this.#times.length > MOST_MEASURED) this.#times.shift();
    this.#onChange();
  }
}

/**
 * Browsers freeze pages that are out of sight, but not those that hold a lock.
 * @param {Promise<unknown>} work
 */
function keepAwake(work) {
  navigator.locks?.request(`clip-wasm indexing ${Math.random()}`, () => work).catch(() => {}); // a frame without an origin has none
}
