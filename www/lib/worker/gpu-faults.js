// What goes wrong on a GPU, after which the processor takes over.

import { codeOf } from "../shared/error.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Warning } from "../shared/protocol.js" */

/** @typedef {import("../../pkg/webgpu/clip_wasm.js").ClipEncoder} GpuEncoder */

/** `internal` is a shader that the driver refuses. */
const FAULTS = ["gpu_lost", "gpu_unavailable", "internal", "low_memory"];

/**
 * @param {unknown} error of an encoder on a GPU
 * @returns {error is Error}
 */
export function isFault(error) {
  return error instanceof Error && FAULTS.includes(codeOf(error) ?? "");
}

/**
 * @param {ClipEncoder | GpuEncoder} encoder
 * @returns {encoder is GpuEncoder}
 */
export function isOnGpu(encoder) {
  return "checkGpu" in encoder;
}

/**
 * @param {string} reason
 * @returns {Warning}
 */
export function notOnGpu(reason) {
  return { code: "not_on_gpu", message: `the processor computes, not the GPU: ${reason}` };
}
