// Starts the wasm module, and the threads of the builds that have some.

import { singleBuild, threadsBuild } from "./builds.js";
import { isForeign, startForeign } from "../shared/foreign-worker.js";
import { insistently } from "../shared/retry-start.js";

/** @import { Build, SingleBindings, ThreadsBindings } from "./builds.js" */

/** @typedef {Pick<SingleBindings, "CheckpointConverter" | "Limits" | "ModelLoader" | "Sha256" | "hasRoom" | "recognizesImage" | "warmUp">} Bindings */

/**
 * A running module.
 * @typedef {object} Module
 * @property {Bindings} bindings
 * @property {WebAssembly.Memory} memory
 * @property {() => Promise<number>} threads how many share its work, once those that can have started
 */

/**
 * What threads have in common.
 * @typedef {{ module: WebAssembly.Module, memory: WebAssembly.Memory }} Shared
 */

const PAGE_BYTES = 65_536;
const MOST_PAGES = 65_536;
/** More than the module asks for at its start. */
const FIRST_PAGES = 64;
/** What the allocator may have taken before it is asked for all. */
const TAKEN_PAGES = 32;
/** Bytes of memory for a byte of the file where it grows most: 4 bits and their scales, packed into 8. */
const MEMORY_PER_FILE = 2.25;
/** For images on their way, and for the layers' values. What is reserved and not used costs nothing. */
const WORKING_BYTES = 2 ** 30;
/** The size taken for a file whose size nobody tells. */
const UNKNOWN_FILE_BYTES = 500_000_000;

/**
 * Starts the build for so many threads, or the one for a single thread where the first does not run.
 * Fails where no module can be fetched, and where the browser has no WebAssembly SIMD.
 * @param {number} threads at most; more than one take a page that is cross-origin isolated, and an engine that then
 *   shares memory
 * @param {Promise<number | null>} fileSize bytes of the model, `null` if nobody tells
 * @returns {Promise<Module>}
 */
export async function startModule(threads, fileSize) {
  // Some engines isolate a page and share no memory all the same, as WebKitGTK: the build would be fetched for nothing.
  const sharesMemory = crossOriginIsolated && typeof SharedArrayBuffer === "function";
  const build = threads > 1 && sharesMemory ? threadsBuild() : null;
  if (build) {
    try {
      return await startThreads(build, threads, fileSize);
    } catch (error) {
      // Not built, or more memory than this browser shares: another build does the same in more time.
      console.warn(`clip-wasm runs on one thread: ${error}`);
    }
  }
  return startSingle(singleBuild());
}

/**
 * @param {Build<SingleBindings>} build
 * @returns {Promise<Module>}
 */
async function startSingle(build) {
  const bindings = await build.bindings();
  const { memory } = await bindings.default({ module_or_path: await build.compile() });
  return { bindings, memory, threads: async () => 1 };
}

/**
 * @param {Build<ThreadsBindings>} build
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
async function startThreads(build, threads, fileSize) {
  const [bindings, module] = await Promise.all([build.bindings(), build.compile()]);
  const bytes = ((await fileSize) ?? UNKNOWN_FILE_BYTES) * MEMORY_PER_FILE + WORKING_BYTES;
  const maximum = Math.min(FIRST_PAGES + TAKEN_PAGES + Math.ceil(bytes / PAGE_BYTES), MOST_PAGES);
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
  await bindings.default({ module_or_path: module, memory });
  // All of it now, while nobody shares it: not every browser lets memory grow under running threads.
  if (!bindings.reserve((maximum - FIRST_PAGES - TAKEN_PAGES) * PAGE_BYTES)) throw new RangeError("too little memory");
  const started = Promise.allSettled(Array.from({ length: threads - 1 }, () => insistently(() => startThread({ module, memory }))));
  return {
    bindings,
    memory,
    threads: async () => 1 + (await started).filter(({ status }) => status === "fulfilled").length,
  };
}

/**
 * @param {Shared} shared
 * @returns {Promise<void>}
 */
async function startThread(shared) {
  const worker = isForeign(import.meta.url)
    ? startForeign("thread.js", import.meta.url)
    : new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve, reject) => {
    const fail = (/** @type {Event} */ event) => {
      event.preventDefault(); // or it would be this worker's failure too
      worker.terminate();
      reject(event);
    };
    worker.addEventListener("error", fail);
    worker.addEventListener("message", ({ data }) => {
      worker.removeEventListener("error", fail);
      // What it has asked servers for, and whence the page hears of its end.
      self.postMessage({ ...data, thread: port1 }, { transfer: [port1] });
      resolve(undefined);
    });
    worker.postMessage(shared, [port2]);
  });
}
