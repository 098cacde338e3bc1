// A thread of Node with the face of a browser's worker, as whoever starts it sees it.

import { Worker as Thread } from "node:worker_threads";

export class NodeWorker extends EventTarget {
  #thread;

  /**
   * @param {URL} script
   * @param {{ name?: string }} [options]
   */
  constructor(script, { name = "" } = {}) {
    super();
    // Of the process's options none is meant for it, and with some it would not start.
    const options = { workerData: { script: script.href, name }, execArgv: [] };
    this.#thread = new Thread(new URL("./thread.js", import.meta.url), options);
    this.#thread.on("message", (data) => this.dispatchEvent(new MessageEvent("message", { data })));
    this.#thread.on("messageerror", (error) => this.#fail("messageerror", error.message));
    this.#thread.on("error", (error) => this.#fail("error", error.message));
    this.#thread.on("exit", (code) => this.#fail("error", `it has ended with code ${code}`));
  }

  /** For those who know it as the DOM's; what is missing here is not used. */
  asWorker() {
    return /** @type {Worker} */ (/** @type {unknown} */ (this));
  }

  /**
   * @param {unknown} message
   * @param {import("node:worker_threads").TransferListItem[]} [transfer]
   */
  postMessage(message, transfer) {
    this.#thread.postMessage(message, transfer);
  }

  terminate() {
    this.#thread.terminate();
  }

  /**
   * @param {string} type
   * @param {string} message
   */
  #fail(type, message) {
    this.dispatchEvent(Object.assign(new Event(type), { message }));
  }
}
