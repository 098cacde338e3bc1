// Starts the towers' module, and the threads of the builds that have some.

import { singleBuilds, threadsBuild, threadsBuildNames } from "./builds.js";
import { environment } from "../shared/environment.js";
import { ClipError, codeOf } from "../shared/error.js";
import { isForeign, libraryOf, startFrom } from "../shared/foreign-worker.js";
import { startWithRetries } from "../shared/retry-start.js";

/** @import { SingleBindings, SingleBuild, ThreadsBindings } from "./builds.js" */
/** @import { Build } from "./compile.js" */
/** @import { Shared } from "../shared/protocol.js" */

/** @typedef {Pick<SingleBindings, "CheckpointConverter" | "Limits" | "ModelLoader" | "Sha256" | "hasRoom" | "products" | "warmUp">} Bindings */

/**
 * A running module.
 * @typedef {object} Module
 * @property {string} build its name
 * @property {Bindings} bindings
 * @property {WebAssembly.Memory} memory
 * @property {() => Promise<number>} threads how many share its work, once those that can have started
 * @property {() => void} replace replaces the instance after a trap, when its memory can no longer be trusted. What other
 *   encoders of this context have in it is refused from then on
 */

const PAGE_BYTES = 65_536;
const MOST_PAGES = 65_536;
/** More than the module asks for at its start. */
const FIRST_PAGES = 64;
/** Pages that the allocator may have used already when the rest is reserved. */
const TAKEN_PAGES = 32;
/** Bytes of memory for a byte of the file, at most: 4-bit weights and their scales are packed into 8 bits. */
const MEMORY_PER_FILE = 2.25;
/** For the layers' values. Reserved memory that is not used costs nothing. */
const WORKING_BYTES = 2 ** 30;
/** The size that is assumed if a file's size is not known. */
const UNKNOWN_FILE_BYTES = 500_000_000;
/** Milliseconds that the threads may take to start. Those that come later share the work too, but are not counted. */
const LONGEST_START = 30_000;

/** How many instances of the build for one thread have been replaced in this context. */
let replaced = 0;

/**
 * Starts the fastest build that this site has and this browser runs. If a build is missing, for example because a site
 * is only partly built, tries the next one. Rejects if no module can be fetched, or if the browser has no WebAssembly
 * SIMD.
 * @param {number} threads at most. More than one need a page that is cross-origin isolated, and a browser that then
 *   shares memory
 * @param {Promise<number | null>} fileSize bytes of the model, `null` if not known
 * @returns {Promise<Module>}
 */
export async function startTowers(threads, fileSize) {
  if (usableThreads(threads) > 1) {
    let reason;
    for (const name of threadsBuildNames()) {
      try {
        return await startThreads(name, threads, fileSize);
      } catch (error) {
        await fileSize; // whose failure is not the build's
        reason = error;
        // The browser cannot share this much memory, and every build with threads needs as much.
        if (error instanceof RangeError) break;
      }
    }
    console.warn(`clip-wasm runs on one thread: ${reason}`);
  }
  const builds = singleBuilds();
  for (const build of builds.slice(0, -1)) {
    try {
      return await startSingle(build);
    } catch (error) {
      console.warn(`clip-wasm runs a slower build: ${error}`);
    }
  }
  return startSingle(/** @type {SingleBuild} */ (builds.at(-1)));
}

/**
 * How many threads of so many can share memory here.
 * @param {number} threads
 */
export function usableThreads(threads) {
  // Some engines, such as WebKitGTK, isolate a page but do not share memory: the build would be fetched for nothing.
  return globalThis.crossOriginIsolated && typeof SharedArrayBuffer === "function" ? threads : 1;
}

/**
 * @param {SingleBuild} build
 * @returns {Promise<Module>}
 */
async function startSingle(build) {
  const bindings = await build.bindings();
  const { memory } = await bindings.default({ module_or_path: await build.compile() });
  const own = replaced;
  const replace = () => {
    if (own !== replaced) return; // another encoder of this context has done it
    replaced++;
    bindings.__wbg_reset_state();
  };
  return { build: build.name, bindings, memory, threads: async () => 1, replace };
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
  // Reserve everything now, before threads share it: not every browser lets memory grow while threads run.
  if (!bindings.reserve((maximum - FIRST_PAGES - TAKEN_PAGES) * PAGE_BYTES)) throw new RangeError("too little memory");
  const tooLate = environment.wait(LONGEST_START).then(() => Promise.reject(new Error("a thread does not answer")));
  const started = Array.from({ length: threads - 1 }, () => Promise.race([startWithRetries(() => startThread({ module, memory, build: name })), tooLate]));
  const running = Promise.allSettled(started).then(countThreads);
  return { build: name, bindings, memory, threads: () => running, replace: () => {} }; // its worker is ended instead
}

/**
 * @param {PromiseSettledResult<void>[]} starts
 * @returns {number} how many threads there are, the worker's own included
 */
function countThreads(starts) {
  const failures = starts.filter(({ status }) => status === "rejected").length;
  const threads = 1 + starts.length - failures;
  if (failures > 0) {
    console.warn(`clip-wasm runs on fewer threads, ${threads}: the others did not start; does the server send pkg/workers/wasm-thread.js as JavaScript, and is there memory for so many?`);
  }
  return threads;
}

/**
 * @param {Shared} shared
 * @returns {Promise<void>}
 */
async function startThread(shared) {
  const address = new URL("../../pkg/simd128-threads/clip_wasm_bg.wasm", import.meta.url);
  const worker = isForeign(address)
    ? startFrom("pkg/workers/wasm-thread.js", libraryOf(address))
    : new Worker(new URL("./wasm-thread.js", import.meta.url), { type: "module" });
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve, reject) => {
    const fail = (/** @type {Event} */ event) => {
      event.preventDefault(); // otherwise this worker would fail too
      worker.terminate();
      reject(event);
    };
    worker.addEventListener("error", fail);
    worker.addEventListener("message", ({ data }) => {
      worker.removeEventListener("error", fail);
      // Its requests, and the port on which it reports its end to the page.
      self.postMessage({ ...data, thread: port1 }, { transfer: [port1] });
      resolve(undefined);
    });
    worker.postMessage(shared, [port2]);
  });
}

/**
 * Starts the module and has the browser optimise it. Rejects with an error that has a code.
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
export async function openTowers(threads, fileSize) {
  try {
    const module = await startTowers(threads, fileSize);
    module.bindings.warmUp();
    return module;
  } catch (cause) {
    await fileSize; // if this fails, report its error: it is not the module's
    if (codeOf(cause) !== null) throw cause;
    throw new ClipError("worker_failed", `the WebAssembly module does not start: ${cause}`);
  }
}
