// transformers.js: from a Blob or a string to a vector, and its towers alone.

import { openPeer } from "./peer.js";

/** @import { OpenOptions } from "./contestants.js" */

/** @param {OpenOptions} options */
export async function open(options) {
  return openPeer(new URL("./transformers-worker.js", import.meta.url), options);
}
