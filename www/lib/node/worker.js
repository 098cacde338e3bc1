// A thread of Node with the interface of a browser's `Worker`.

import { Worker as Thread } from "node:worker_threads";

export class NodeWorker extends EventTarget {
  #thread;

  /**
   * @param {URL} script
   * @param {{ name?: string }} [options]
   */
  constructor(script, { name = "" } = {}) {
    super();
    // Without the process's own options: they are not meant for this thread, and some would keep it from starting.
    const options = { workerData: { script: script.href, name }, execArgv: [] };
    this.#thread = new Thread(new URL("./browser-surroundings.js", import.meta.url), options);
    this.#thread.on("message", (data) => this.dispatchEvent(new MessageEvent("message", { data })));
    this.#thread.on("messageerror", (error) => this.#fail("messageerror", error.message));
    this.#thread.on("error", (error) => this.#fail("error", error.message));
    this.#thread.on("exit", (code) => this.#fail("error", `it has ended with code ${code}`));
  }

  /** The same object, typed as the DOM's `Worker`. The members that are missing are not used. */
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
