// Starts the towers' module, and the threads of the builds that have some.

import { singleBuilds, threadsBuild, threadsBuilds } from "./builds.js";
import { isForeign, startForeign } from "../shared/foreign-worker.js";
import { insistently } from "../shared/retry-start.js";

/** @import { SingleBindings, ThreadsBindings } from "./builds.js" */
/** @import { Build } from "./compile.js" */
/** @import { Shared } from "../shared/protocol.js" */

/** @typedef {Pick<SingleBindings, "CheckpointConverter" | "Limits" | "ModelLoader" | "Sha256" | "hasRoom" | "warmUp">} Bindings */

/**
 * A running module.
 * @typedef {object} Module
 * @property {Bindings} bindings
 * @property {WebAssembly.Memory} memory
 * @property {() => Promise<number>} threads how many share its work, once those that can have started
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
 * Starts the fastest build for so many threads that this site has and this browser runs. A build that is missing, as
 * while a site is being built, is no reason to fail while there is another.
 * Fails if no module can be fetched, and if the browser has no WebAssembly SIMD.
 * @param {number} threads at most. More than one take a page that is cross-origin isolated, and an engine that then
 *   shares memory
 * @param {Promise<number | null>} fileSize bytes of the model, `null` if nobody tells
 * @returns {Promise<Module>}
 */
export async function startTowers(threads, fileSize) {
  // Some engines isolate a page and yet share no memory, as WebKitGTK: the build would be fetched in vain.
  const sharesMemory = crossOriginIsolated && typeof SharedArrayBuffer === "function";
  for (const name of threads > 1 && sharesMemory ? threadsBuilds() : []) {
    try {
      return await startThreads(name, threads, fileSize);
    } catch (error) {
      console.warn(`clip-wasm does not run its build ${name}: ${error}`);
      // More memory than this browser shares: every build with threads needs as much.
      if (error instanceof RangeError) break;
    }
  }
  const builds = singleBuilds();
  for (const build of builds.slice(0, -1)) {
    try {
      return await startSingle(build);
    } catch (error) {
      console.warn(`clip-wasm runs a slower build: ${error}`);
    }
  }
  return startSingle(/** @type {Build<SingleBindings>} */ (builds.at(-1)));
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
 * @param {string} name of the build
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
async function startThreads(name, threads, fileSize) {
  const build = /** @type {Build<ThreadsBindings>} */ (threadsBuild(name));
  const [bindings, module] = await Promise.all([build.bindings(), build.compile()]);
  const bytes = ((await fileSize) ?? UNKNOWN_FILE_BYTES) * MEMORY_PER_FILE + WORKING_BYTES;
  const maximum = Math.min(FIRST_PAGES + TAKEN_PAGES + Math.ceil(bytes / PAGE_BYTES), MOST_PAGES);
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
  await bindings.default({ module_or_path: module, memory });
  // All of it now, while nobody shares it: not every browser lets memory grow under running threads.
  if (!bindings.reserve((maximum - FIRST_PAGES - TAKEN_PAGES) * PAGE_BYTES)) throw new RangeError("too little memory");
  const started = Promise.allSettled(Array.from({ length: threads - 1 }, () => insistently(() => startThread({ module, memory, build: name }))));
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
