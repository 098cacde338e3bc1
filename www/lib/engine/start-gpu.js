// Starts the towers' module that computes on a GPU, if this browser has one that may be used.

import { webgpuBuild } from "./builds.js";

/** @import { Gpu } from "../../pkg/webgpu/clip_wasm.js" */
/** @import { WebGpuBindings } from "./builds.js" */
/** @import { Module } from "./start-towers.js" */
/** @import { GpuVerdict } from "../shared/protocol.js" */

/** @typedef {Module & { bindings: WebGpuBindings, gpu: Gpu, adapter: string }} GpuModule */

/** Milliseconds that a driver has to answer. */
const PATIENCE = 10_000;

/**
 * Asks for the fastest GPU. Takes some milliseconds, so it is asked for before it is needed.
 * @returns {Promise<GPUAdapter | null>}
 */
export async function findAdapter() {
  if (!hasWebGpu()) return null;
  return inTime(navigator.gpu.requestAdapter({ powerPreference: "high-performance" })).catch(() => null);
}

/**
 * Starts the module, unless this browser has no GPU for it.
 * @param {object} options
 * @param {boolean} options.insists whether the GPU was asked for by name: then one that computes on the CPU, or was found
 *   to be slower, is taken too
 * @param {(adapter: string) => Promise<GpuVerdict>} options.verdictOn what is known of an adapter
 * @param {Promise<GPUAdapter | null>} options.adapter see {@link findAdapter}
 * @param {number} options.threads that would compute otherwise
 * @returns {Promise<{ module: GpuModule } | { reason: string | null }>} `reason` says why there is none; `null` if this
 *   browser simply has no GPU, as many have not
 */
export async function startGpu({ insists, adapter: found, verdictOn, threads }) {
  const build = webgpuBuild();
  if (!build) return { reason: insists ? "this page has no module for it" : null };
  if (!hasWebGpu()) return { reason: insists ? "this browser has no WebGPU" : null };
  const adapter = await found;
  if (!adapter) return { reason: insists ? "this browser offers no GPU" : null };
  const name = nameOf(adapter.info);
  if (adapter.info.isFallbackAdapter && !insists) return { reason: `the only adapter, ${name}, computes on the CPU` };
  const verdict = await verdictOn(name);
  if (verdict.refusal !== null && !(insists && verdict.refusal.isSlow)) return { reason: `${verdict.refusal.reason} (found at an earlier visit)` };
  /** @type {Gpu | undefined} */
  let gpu;
  try {
    const [bindings, compiled] = await Promise.all([build.bindings(), build.compile()]);
    const { memory } = await bindings.default({ module_or_path: compiled });
    gpu = await inTime(bindings.Gpu.open(insists, verdict.products));
    if (verdict.products === null && !adapter.info.isFallbackAdapter) {
      const [onGpu = 0, onCpu = 0] = await inTime(gpu.race());
      const isSlow = onGpu > onCpu / threads;
      if (isSlow && !insists) {
        const reason = `the GPU, ${name}, is slower than this processor: ${onGpu.toFixed(1)} ms instead of ${(onCpu / threads).toFixed(1)} for the same product`;
        await verdict.refuse({ reason, isSlow });
        gpu.destroy();
        return { reason };
      }
      if (!isSlow) await verdict.accept(gpu.products);
    }
    const started = { build: build.name, bindings, memory, threads: async () => 1, replace: () => bindings.__wbg_reset_state() };
    return { module: { ...started, gpu, adapter: name } };
  } catch (error) {
    gpu?.destroy();
    return { reason: `the GPU, ${name}, does not start: ${error instanceof Error ? error.message : error}` };
  }
}

/** Not every context has a `navigator`: Node before 21 has none. */
function hasWebGpu() {
  return "navigator" in globalThis && "gpu" in navigator;
}

/**
 * The adapter's name, as far as the browser tells it.
 * @param {GPUAdapterInfo} info
 */
function nameOf({ vendor, architecture, device, description }) {
  return description || [vendor, architecture, device].filter(Boolean).join(" ") || "an adapter without a name";
}

/**
 * @template T
 * @param {Promise<T>} answer
 * @returns {Promise<T>} rejects if the driver does not answer
 */
function inTime(answer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = /** @type {Promise<never>} */ (new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the driver does not answer within ${PATIENCE / 1000} s`)), PATIENCE);
  }));
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
