// What a thread of Node runs first: it gives worker.js and thread.js the surroundings of a browser's worker.

import { availableParallelism, totalmem } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { fetchOrRead } from "./files.js";
import { NodeWorker } from "./worker.js";
import { environment } from "../shared/environment.js";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const { script, name } = /** @type {{ script: string, name: string }} */ (workerData);

environment.fetch = fetchOrRead;

// All of it is this thread's own: the process that uses the library sees nothing of it.
const surroundings = {
  self: globalThis,
  name,
  // Memory may be shared here without ado.
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
