// The API in Node: that of clip.js, but sources can be paths, workers are threads of Node, and no model is stored.

import { setMaxListeners } from "node:events";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { pathToFileURL } from "node:url";
import { inPlace, InPlaceWorker } from "./lib/client/in-place-worker.js";
import { workers } from "./lib/client/start-worker.js";
import { NodeWorker } from "./lib/node/worker.js";
import { fetchOrRead } from "./lib/node/files.js";
import { environment } from "./lib/shared/environment.js";
import { ClipError } from "./lib/shared/error.js";

export * from "./clip.js";

Object.assign(environment, {
  fetch: fetchOrRead,
  // Deno does not end threads that wait for work, and its process would not exit.
  cores: () => ("Deno" in globalThis ? 1 : availableParallelism()),
  keeps: () => false,
  fetchesImages: false,
  has: async (/** @type {string} */ url) => existsSync(new URL(url)),
  // Node sends no blob to a thread that reads a file, such as those of `fs.openAsBlob`.
  sendable: async (/** @type {Blob} */ blob) => {
    try {
      return structuredClone(blob);
    } catch {
      return new Blob([await blob.arrayBuffer().catch(notReadable)], { type: blob.type });
    }
  },
  // Node warns of a leak at the eleventh listener; here each call has one until it settles.
  acceptListeners: (/** @type {AbortSignal} */ signal) => setMaxListeners(0, signal),
  absoluteUrl: (/** @type {string | URL} */ url) => (isUrl(url) ? new URL(url) : pathToFileURL(url)).href,
});
inPlace.serve = async () => (await import("./lib/worker/in-place.js")).serveInPlace;
workers.start = (kind, name, { inPlace }) => {
  if (inPlace) return new InPlaceWorker(kind).asWorker();
  // The URLs are written out in full, because bundlers recognise only that.
  const script = { model: new URL("./lib/worker/model-worker.js", import.meta.url), pictures: new URL("./lib/worker/picture-worker.js", import.meta.url) };
  return new NodeWorker(script[kind], { name }).asWorker();
};

/**
 * @param {Error} cause
 * @returns {never}
 */
function notReadable(cause) {
  throw new ClipError("io", `the file of this blob cannot be read: has it been moved or changed? (${cause.message})`, { cause });
}

/**
 * Whether it is a URL and not a path. A scheme has two characters at least, so a drive's letter is not one.
 * @param {string | URL} url
 * @returns {url is URL}
 */
function isUrl(url) {
  return url instanceof URL || /^[a-z][a-z0-9+.-]+:/i.test(url);
}
