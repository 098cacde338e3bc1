// What goes wrong on a GPU, after which the processor takes over.

import { inTime } from "../engine/start-gpu.js";
import { codeOf } from "../shared/error.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { GpuModule } from "../engine/start-gpu.js" */
/** @import { Warning } from "../shared/protocol.js" */

/** @typedef {import("../../pkg/webgpu/clip_wasm.js").ClipEncoder} GpuEncoder */

/** `internal` is a shader that the driver refuses. */
const FAULTS = ["gpu_lost", "gpu_unavailable", "internal", "low_memory"];
/** Milliseconds that a GPU has for a call, and for each input of it, before it counts as one that does not answer. */
const PATIENCE = { call: 30_000, input: 5_000 };
/** The same for one that the processor simulates. */
const MORE_PATIENCE = { call: 60_000, input: 60_000 };
/** What an error advises a program that has to do it itself. */
const ADVICE = /; (use fewer inputs|load the model again).*$/;

/**
 * An error without a code is a trap, or an exception of the browser: WebGPU is young, and not the same everywhere.
 * @param {unknown} error of an encoder on a GPU
 * @returns {error is Error}
 */
export function isFault(error) {
  return error instanceof Error && FAULTS.includes(codeOf(error) ?? "internal");
}

/**
 * @param {ClipEncoder | GpuEncoder} encoder
 * @returns {encoder is GpuEncoder}
 */
export function isOnGpu(encoder) {
  return "checkGpu" in encoder;
}

/**
 * @template T
 * @param {T | Promise<T>} computed
 * @param {number} inputs how many are computed
 * @param {GpuModule} module
 * @returns {Promise<T>} rejects if that takes too long
 */
export async function watched(computed, inputs, { isSoftware }) {
  const { call, input } = isSoftware ? MORE_PATIENCE : PATIENCE;
  return inTime(computed, call + inputs * input);
}

/**
 * Why a GPU failed, without what to do about it: that is done.
 * @param {Error} error
 */
export function reasonOf(error) {
  if (codeOf(error) === null) return `its module has stopped: ${error.message}`;
  return error.message.replace(ADVICE, "");
}

/**
 * @param {string} reason
 * @returns {Warning}
 */
export function notOnGpu(reason) {
  return { code: "not_on_gpu", message: `the processor computes, not the GPU: ${reason}` };
}
