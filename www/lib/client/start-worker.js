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

/**
 * What a connection needs to know of its worker.
 * @typedef {object} WorkerScript
 * @property {string} noun what error messages call it
 * @property {(name: string) => Worker} start
 * @property {() => string} whyNotStarted for the browser does not give the reason
 */

/** @type {Record<WorkerKind, string>} */
const NOUNS = { model: "the encoder's worker", pictures: "the worker that reads pictures" };

/** The scripts, in the library's folder: ./build.sh bundles those of lib/worker into them. */
export const SCRIPTS = { model: "pkg/workers/model-worker.js", pictures: "pkg/workers/picture-worker.js" };

/** What helps where a bundler has not found the workers. */
export const BUNDLER_ADVICE =
  'if a bundler has made this page, have your server send the files of node_modules/clip-wasm too, and pass their address: ClipEncoder.load(model, { libraryUrl: "/clip-wasm/" })';

/** The address of a file of the library, which tells where the others are. */
const pictureModule = () => new URL("../../pkg/pictures/clip_wasm_bg.wasm", import.meta.url);

/**
 * @param {WorkerKind} kind
 * @param {Place} place
 * @returns {WorkerScript}
 */
export function workerScript(kind, place) {
  return { noun: NOUNS[kind], start: (name) => workers.start(kind, name, place), whyNotStarted: () => notStarted(kind, place) };
}

/**
 * Why a worker may not have started: the browser does not give the reason.
 * @param {WorkerKind} kind
 * @param {Place} place
 */
function notStarted(kind, { libraryUrl }) {
  const module = pictureModule();
  // A bundler's own address of the script is not known here.
  const isUnchanged = module.href?.endsWith("/pkg/pictures/clip_wasm_bg.wasm");
  const library = libraryUrl ?? (isUnchanged ? libraryOf(module) : null);
  const script = library === null ? SCRIPTS[kind] : new URL(SCRIPTS[kind], library).href;
  if (library !== null && isForeign(script)) {
    const { origin } = new URL(script);
    return (
      `it does not start, because ${script} is missing or not JavaScript, or its server does not let other sites read it ` +
      `(CORS: access-control-allow-origin), or the page's Content-Security-Policy forbids it (worker-src blob: ${origin} ` +
      `and script-src ${origin} allow it)`
    );
  }
  return (
    `it does not start, because the server does not send ${script} as JavaScript, or the page's ` +
    `Content-Security-Policy forbids it (worker-src 'self' allows it); ${BUNDLER_ADVICE}`
  );
}

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
      const module = pictureModule();
      if (isForeign(module)) return startFrom(SCRIPTS[kind], libraryOf(module), name);
      if (kind === "model") return new Worker(new URL("../../pkg/workers/model-worker.js", import.meta.url), { type: "module", name });
      return new Worker(new URL("../../pkg/workers/picture-worker.js", import.meta.url), { type: "module", name });
    } catch (cause) {
      throw new ClipError("worker_failed", `this page cannot start a worker, which the encoder needs (${cause}); clip-wasm/in-place.js computes without one; ${BUNDLER_ADVICE}`, { cause });
    }
  },
};
