// onnxruntime-web: only the towers, because it neither decodes images nor tokenizes texts.

import { openPeer } from "./peer.js";

/** @import { OpenOptions } from "./contestants.js" */

/** @param {OpenOptions} options */
export async function open(options) {
  return openPeer(new URL("./onnxruntime-worker.js", import.meta.url), options);
}
