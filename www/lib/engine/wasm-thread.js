// A thread of the wasm module: after its first message, it works for the worker that sent it.

import { threadsBuild } from "./builds.js";
import { requestedUrls } from "../shared/requested-urls.js";

/** @import { Shared } from "../shared/protocol.js" */

self.addEventListener("message", async (event) => {
  const { module, memory, build: name } = /** @type {Shared} */ (event.data);
  const [page] = event.ports;
  const build = threadsBuild(name);
  if (!build) return;
  let bindings;
  try {
    bindings = await build.bindings();
    bindings.initSync({ module, memory }); // throws if there is no memory for this thread's stack
  } catch (error) {
    setTimeout(() => { throw error; }); // so that the worker that started this thread gets an error event
    return;
  }
  self.postMessage({ requests: requestedUrls(performance) });
  try {
    bindings.joinPool(); // never returns, except by a trap
  } catch (error) {
    page?.postMessage(String(error));
  }
});
