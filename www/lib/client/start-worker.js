// How this page starts a worker. Every URL is written out in full, because bundlers recognise only that.

import { ClipError } from "../shared/error.js";
import { isForeign, startForeign } from "../shared/foreign-worker.js";

/** @typedef {"model" | "pictures"} WorkerKind */

/** The scripts, relative to this file. */
export const SCRIPTS = { model: "../worker/model-worker.js", pictures: "../worker/picture-worker.js" };

/** Starts workers in a browser. node.js replaces `start` in Node. */
export const workers = {
  /**
   * @param {WorkerKind} kind
   * @param {string} name
   * @returns {Worker}
   */
  start(kind, name) {
    try {
      if (isForeign(import.meta.url)) return startForeign(SCRIPTS[kind], import.meta.url, name);
      if (kind === "model") return new Worker(new URL("../worker/model-worker.js", import.meta.url), { type: "module", name });
      return new Worker(new URL("../worker/picture-worker.js", import.meta.url), { type: "module", name });
    } catch (cause) {
      throw new ClipError("worker_failed", `this page cannot start a worker, which the encoder needs: ${cause}`, { cause });
    }
  },
};
