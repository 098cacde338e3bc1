// A thread of the wasm module: from its first message on, it works for the one that sent it.

import { initSync, joinPool } from "./pkg/threads/clip_wasm.js";

/** @import { Shared } from "./module.js" */

self.addEventListener("message", (event) => {
  const { module, memory } = /** @type {Shared} */ (event.data);
  initSync({ module, memory });
  self.postMessage("started");
  joinPool(); // does not return
});
