// How this page starts a worker. Every URL is written out in full, because bundlers recognise only that.

import { InPlaceWorker } from "./in-place-worker.js";
import { ClipError } from "../shared/error.js";
import { isForeign, libraryOf, startFrom } from "../shared/foreign-worker.js";

/** @import { LoadParams } from "../shared/protocol.js" */

/** @typedef {"model" | "pictures"} WorkerKind */

/**
 * Where a worker is started: from which folder of the library's files, if the caller of the API gave it; or not at all.
 * @typedef {Pick<LoadParams, "libraryUrl" | "inPlace">} Place
 */

/** The scripts, in the library's folder. */
export const SCRIPTS = { model: "lib/worker/model-worker.js", pictures: "lib/worker/picture-worker.js" };

/** What helps where a bundler has not found the workers. */
export const BUNDLER_ADVICE =
  'if a bundler has made this page, have your server send the files of node_modules/clip-wasm too, and pass their address: ClipEncoder.load(model, { libraryUrl: "/clip-wasm/" })';

/** Starts workers in a browser. node.js replaces `start` in Node. */
export const workers = {
  /**
   * @param {WorkerKind} kind
   * @param {string} name
   * @param {Place} place
   * @returns {Worker}
   */
  start(kind, name, { libraryUrl, inPlace }) {
    if (inPlace) return new InPlaceWorker(kind).asWorker();
    try {
      if (libraryUrl !== undefined) return startFrom(SCRIPTS[kind], libraryUrl, name);
      const module = new URL("../../pkg/pictures/clip_wasm_bg.wasm", import.meta.url);
      if (isForeign(module)) return startFrom(SCRIPTS[kind], libraryOf(module), name);
      if (kind === "model") return new Worker(new URL("../worker/model-worker.js", import.meta.url), { type: "module", name });
      return new Worker(new URL("../worker/picture-worker.js", import.meta.url), { type: "module", name });
    } catch (cause) {
      throw new ClipError("worker_failed", `this page cannot start a worker, which the encoder needs (${cause}); clip-wasm/in-place.js computes without one; ${BUNDLER_ADVICE}`, { cause });
    }
  },
};
