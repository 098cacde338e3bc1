// The API in Node: that of clip.js, with sources that may be paths, threads for workers, and nothing kept.

import { availableParallelism } from "node:os";
import { pathToFileURL } from "node:url";
import { WorkerConnection } from "./lib/client/worker-connection.js";
import { NodeWorker } from "./lib/node/worker.js";
import { fetchOrRead } from "./lib/node/files.js";
import { platform } from "./lib/shared/environment.js";

export * from "./clip.js";

Object.assign(platform, {
  fetch: fetchOrRead,
  cores: availableParallelism,
  keeps: () => false,
  absoluteUrl: (/** @type {string | URL} */ url) => (isUrl(url) ? new URL(url) : pathToFileURL(url)).href,
});
WorkerConnection.start = (name) => new NodeWorker(new URL("./lib/worker/model-worker.js", import.meta.url), { name }).asWorker();

/**
 * Whether it is no path: a drive's letter is no scheme.
 * @param {string | URL} url
 * @returns {url is URL}
 */
function isUrl(url) {
  return url instanceof URL || /^[a-z][a-z0-9+.-]+:/i.test(url);
}
