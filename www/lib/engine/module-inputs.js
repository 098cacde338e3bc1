// What both wasm modules need before anything is copied into their memory.

import { ClipError } from "../shared/error.js";
/** @import { LimitOptions } from "../shared/protocol.js" */


/** @typedef {Pick<typeof import("../../pkg/pictures/clip_wasm.js"), "Limits" | "hasRoom">} CommonBindings */

/**
 * Refuses bytes that there is no memory for: a copy that fails would end the module.
 * @param {CommonBindings} bindings
 * @param {number} bytes
 */
export function requireRoom(bindings, bytes) {
  if (bindings.hasRoom(bytes)) return;
  throw new ClipError("low_memory", `there is not enough memory for another ${bytes} bytes; close other pages, or use a smaller model or image`);
}

/**
 * @template {CommonBindings} B
 * @param {B} bindings
 * @param {LimitOptions} limits
 * @returns {InstanceType<B["Limits"]>} the defaults, changed by `limits`
 */
export function limitsOf(bindings, limits) {
  const all = /** @type {InstanceType<B["Limits"]>} */ (new bindings.Limits());
  for (const [name, most] of Object.entries(limits)) all.set(name, most);
  return all;
}
