// A thread of the wasm module: from its first message on, it works for the one that sent it.

import { THREADS_BUILDS } from "./module.js";

/** @import { Shared } from "./module.js" */

self.addEventListener("message", async (event) => {
  const { build, module, memory } = /** @type {Shared} */ (event.data);
  const { initSync, joinPool } = await THREADS_BUILDS[build]();
  initSync({ module, memory });
  self.postMessage("started");
  joinPool(); // does not return
});
