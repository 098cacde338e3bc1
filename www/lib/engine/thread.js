// A thread of the wasm module: from its first message on, it works for the one that sent it.

import { threadsBuild } from "./builds.js";
import { requestedUrls } from "../shared/requests.js";

/** @import { Shared } from "../shared/protocol.js" */

self.addEventListener("message", async (event) => {
  const { module, memory, build: name } = /** @type {Shared} */ (event.data);
  const [page] = event.ports;
  const build = threadsBuild(name);
  if (!build) return;
  const bindings = await build.bindings().catch((error) => {
    setTimeout(() => { throw error; }); // where whoever started it hears of it
  });
  if (!bindings) return;
  const { initSync, joinPool } = bindings;
  initSync({ module, memory });
  self.postMessage({ requests: requestedUrls(performance) });
  try {
    joinPool(); // returns never, but by a trap
  } catch (error) {
    page?.postMessage(String(error));
  }
});
