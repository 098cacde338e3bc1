// Measures the progress and the speed of a load.

/** @import { Progress } from "../shared/protocol.js" */

/** Milliseconds over which the speed is measured. */
const SPEED_WINDOW = 3000;

export class Meter {
  #tell;
  /** @type {{ time: number, loaded: number }[]} */
  #samples = [];
  loaded = 0;
  /** @type {number | null} */
  total = null;

  /** @param {(progress: Progress) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {number} bytes */
  add(bytes) {
    this.loaded += bytes;
    if (this.total !== null && this.loaded > this.total) this.total = null;
    this.tell();
  }

  tell() {
    const now = performance.now();
    this.#samples.push({ time: now, loaded: this.loaded });
    while (this.#samples.length > 2 && now - Number(this.#samples[1]?.time) > SPEED_WINDOW) this.#samples.shift();
    const { time, loaded } = /** @type {{ time: number, loaded: number }} */ (this.#samples[0]);
    const seconds = (now - time) / 1000;
    const bytesPerSecond = seconds > 0.2 ? (this.loaded - loaded) / seconds : null;
    const secondsLeft = bytesPerSecond && this.total !== null ? (this.total - this.loaded) / bytesPerSecond : null;
    this.#tell({ loaded: this.loaded, total: this.total, bytesPerSecond, secondsLeft });
  }
}
