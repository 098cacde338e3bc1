// What stands for a worker where none is started: it has a worker's interface, and computes in this context.

import { ClipError } from "../shared/error.js";

/** @import { Port } from "../worker/message-loop.js" */
/** @import { Answer } from "../shared/protocol.js" */

/** @typedef {typeof import("../worker/in-place.js").serveInPlace} Serve */

export const inPlace = {
  /** Set by in-place.js and node.js: pages, which have workers, need not load what answers here. @type {(() => Promise<Serve>) | null} */
  serve: null,
};

export class InPlaceWorker extends EventTarget {
  /** Dispatches the calls to the methods. */
  #calls = new EventTarget();
  /** @type {Promise<(isBroken: boolean) => void>} */
  #serving;
  #isBroken = false;
  #isEnded = false;

  /** @param {"model" | "pictures"} kind */
  constructor(kind) {
    super();
    if (!inPlace.serve) throw new ClipError("invalid_input", 'to compute without a worker, import the API from "clip-wasm/in-place.js"');
    /** @type {Port} */
    const port = {
      addEventListener: this.#calls.addEventListener.bind(this.#calls),
      postMessage: (answer) => this.#answer(/** @type {Answer} */ (answer)),
    };
    this.#serving = inPlace.serve().then((serve) => serve(kind, port));
    this.#serving.catch((error) => this.dispatchEvent(Object.assign(new Event("error"), { message: error.message })));
  }

  /** The same object, typed as the DOM's `Worker`. The members that are missing are not used. */
  asWorker() {
    return /** @type {Worker} */ (/** @type {unknown} */ (this));
  }

  /** @param {unknown} data */
  async postMessage(data) {
    await Promise.all([this.#serving, turn()]).then(
      () => this.#isEnded || this.#calls.dispatchEvent(new MessageEvent("message", { data })),
      () => {}, // the error event says why
    );
  }

  terminate() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#serving.then((end) => end(this.#isBroken)).catch(() => {});
  }

  /** @param {Answer} data */
  #answer(data) {
    if (data.error?.code === "worker_failed") this.#isBroken = true;
    if (!this.#isEnded) this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

/**
 * Resolves in a later turn of the event loop, so that a batch lets other work through between its inputs. Timers would
 * wait longer.
 * @returns {Promise<void>}
 */
function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}
