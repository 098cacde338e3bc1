// The first script of a thread in Node: it provides the globals of a browser's worker, and then imports the worker's
// script.

import { availableParallelism, totalmem } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { fetchOrRead } from "./files.js";
import { NodeWorker } from "./worker.js";
import { environment } from "../shared/environment.js";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const { script, name } = /** @type {{ script: string, name: string }} */ (workerData);

environment.fetch = fetchOrRead;

// These globals exist only in this thread: the program that uses the library does not see them.
const surroundings = {
  self: globalThis,
  name,
  // In Node, memory can always be shared.
  crossOriginIsolated: true,
  navigator: { hardwareConcurrency: availableParallelism(), deviceMemory: totalmem() / 2 ** 30 },
  Worker: NodeWorker,
  addEventListener(/** @type {string} */ type, /** @type {(event: MessageEvent) => void} */ listener) {
    port.on(type, (data) => listener(new MessageEvent(type, { data })));
  },
  postMessage(/** @type {unknown} */ message, /** @type {{ transfer?: ArrayBuffer[] }} */ { transfer } = {}) {
    port.postMessage(message, transfer);
  },
};
for (const [key, value] of Object.entries(surroundings)) {
  Object.defineProperty(globalThis, key, { value, configurable: true, writable: true });
}

await import(script);
