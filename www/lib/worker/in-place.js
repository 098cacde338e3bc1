// Answers calls in the context that makes them, where no worker is started.

import { serveCalls } from "./message-loop.js";
import { modelMethods } from "./model-methods.js";
import { pictureMethods } from "./picture-methods.js";

/** @import { Port } from "./message-loop.js" */

/**
 * @param {"model" | "pictures"} kind of worker whose methods are called
 * @param {Port} port
 * @returns {(isBroken: boolean) => void} ends it; `isBroken` says whether its module has trapped
 */
export function serveInPlace(kind, port) {
  if (kind === "pictures") {
    serveCalls(pictureMethods(), port);
    return () => {};
  }
  const methods = modelMethods();
  serveCalls(methods, port);
  return (isBroken) => methods.close({ isBroken });
}
