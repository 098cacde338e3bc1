// The API in Node: that of clip.js, but sources can be paths, workers are threads of Node, and no model is stored.

import { availableParallelism } from "node:os";
import { pathToFileURL } from "node:url";
import { workers } from "./lib/client/start-worker.js";
import { NodeWorker } from "./lib/node/worker.js";
import { fetchOrRead } from "./lib/node/files.js";
import { environment } from "./lib/shared/environment.js";

export * from "./clip.js";

Object.assign(environment, {
  fetch: fetchOrRead,
  cores: availableParallelism,
  keeps: () => false,
  absoluteUrl: (/** @type {string | URL} */ url) => (isUrl(url) ? new URL(url) : pathToFileURL(url)).href,
});
workers.start = (kind, name) => {
  // The URLs are written out in full, because bundlers recognise only that.
  const script = { model: new URL("./lib/worker/model-worker.js", import.meta.url), pictures: new URL("./lib/worker/picture-worker.js", import.meta.url) };
  return new NodeWorker(script[kind], { name }).asWorker();
};

/**
 * Whether it is a URL and not a path. A scheme has two characters at least, so a drive's letter is not one.
 * @param {string | URL} url
 * @returns {url is URL}
 */
function isUrl(url) {
  return url instanceof URL || /^[a-z][a-z0-9+.-]+:/i.test(url);
}
