// Starts the towers' module that computes on a GPU, if this browser has one that may be used.

import { webgpuBuild } from "./builds.js";

/** @import { Gpu } from "../../pkg/webgpu/clip_wasm.js" */
/** @import { WebGpuBindings } from "./builds.js" */
/** @import { Module } from "./start-towers.js" */
/** @import { GpuVerdict } from "../shared/protocol.js" */

/**
 * `isSoftware`: the processor simulates the GPU.
 * @typedef {Module & { bindings: WebGpuBindings, gpu: Gpu, adapter: string, isSoftware: boolean }} GpuModule
 */

/** What is read of an adapter: browsers of before 2025 have less. @typedef {Partial<GPUAdapterInfo>} Info */

/** Milliseconds that a driver has to answer. */
const PATIENCE = 10_000;
/** As long for a GPU that was asked for by name: one that is simulated by a busy processor needs it. */
const MORE_PATIENCE = 60_000;

/**
 * Asks for the fastest GPU. Takes some milliseconds, so it is asked for before it is needed.
 * @returns {Promise<GPUAdapter | null>}
 */
export async function findAdapter() {
  try {
    return hasWebGpu() ? await inTime(navigator.gpu.requestAdapter({ powerPreference: "high-performance" })) : null;
  } catch {
    return null;
  }
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
  if (!hasWebGpu()) return { reason: insists ? "there is no WebGPU here" : null };
  const adapter = await found;
  if (!adapter) return { reason: insists ? "this browser offers no GPU" : null };
  const info = /** @type {Info} */ (adapter.info ?? {});
  const isSoftware = info.isFallbackAdapter ?? ("isFallbackAdapter" in adapter && adapter.isFallbackAdapter === true);
  const name = nameOf(info);
  if (isSoftware && !insists) return { reason: `the only adapter, ${name}, computes on the CPU` };
  // Chrome has it from 127 on, and wgpu reads it.
  if (!adapter.info) Object.defineProperty(GPUAdapter.prototype, "info", { value: { vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: isSoftware } });
  const verdict = await verdictOn(name);
  if (verdict.refusal !== null && !(insists && verdict.refusal.isSlow)) return { reason: `${verdict.refusal.reason} (found at an earlier visit)` };
  const patience = insists ? MORE_PATIENCE : PATIENCE;
  /** @type {Gpu | undefined} */
  let gpu;
  try {
    const [bindings, compiled] = await Promise.all([build.bindings(), build.compile()]);
    const { memory } = await bindings.default({ module_or_path: compiled });
    const opening = bindings.Gpu.open(insists, verdict.products);
    gpu = await inTime(opening, patience, (late) => late.destroy());
    if (verdict.products === null && !isSoftware) {
      const [onGpu = 0, onCpu = 0] = await inTime(gpu.race(), patience);
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
    return { module: { ...started, gpu, adapter: name, isSoftware } };
  } catch (error) {
    gpu?.destroy();
    const reason = `the GPU, ${name}, does not start: ${error instanceof Error ? error.message : error}`;
    await verdict.refuse({ reason, isSlow: true }, true);
    return { reason };
  }
}

/** Not every context has a `navigator`: Node before 21 has none. */
function hasWebGpu() {
  return "navigator" in globalThis && Boolean(navigator.gpu);
}

/**
 * The adapter's name, as far as the browser tells it.
 * @param {Info} info
 */
function nameOf({ vendor, architecture, device, description }) {
  return description || [vendor, architecture, device].filter(Boolean).join(" ") || "an adapter without a name";
}

/**
 * Waits for a driver, but not for ever. An exception that the browser throws into the module's waiting code reaches
 * nobody, and is only reported to this worker.
 * @template T
 * @param {T | Promise<T>} answer
 * @param {number} patience milliseconds
 * @param {(late: T) => void} [discard] an answer that comes too late
 * @returns {Promise<T>}
 */
export async function inTime(answer, patience = PATIENCE, discard = () => {}) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {(event: ErrorEvent) => void} */
  let onError = () => {};
  const failed = /** @type {Promise<never>} */ (new Promise((_, reject) => {
    timer = setTimeout(() => {
      Promise.resolve(answer).then(discard, () => {});
      reject(new Error(`it has not answered within ${patience / 1000} s`));
    }, patience);
    onError = (event) => {
      event.preventDefault(); // otherwise this worker would fail too
      reject(event.error instanceof Error ? event.error : new Error(event.message));
    };
  }));
  const scope = "DedicatedWorkerGlobalScope" in globalThis ? self : new EventTarget();
  scope.addEventListener("error", /** @type {EventListener} */ (onError));
  try {
    return await Promise.race([answer, failed]);
  } finally {
    clearTimeout(timer);
    scope.removeEventListener("error", /** @type {EventListener} */ (onError));
  }
}
