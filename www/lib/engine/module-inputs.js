// What both wasm modules need before anything is copied into their memory.

import { ClipError } from "../shared/error.js";

/** @import { Limits, ModelLoader } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "./start-gpu.js" */
/** @import { Module } from "./start-towers.js" */
/** @import { LimitOptions, Tower } from "../shared/protocol.js" */

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

/**
 * @param {Module | GpuModule} module
 * @param {Limits} limits
 * @param {Tower[] | undefined} towers
 * @returns {ModelLoader} which puts the weights where the module computes
 */
export function newLoader(module, limits, towers) {
  if (!("gpu" in module)) return new module.bindings.ModelLoader(limits, towers);
  return module.bindings.ModelLoader.ontoGpu(limits, module.gpu, towers);
}
