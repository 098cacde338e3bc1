// The wasm module: which of its builds runs here, and the threads of those that have some.

/** @typedef {Pick<typeof import("./pkg/simd128/clip_wasm.js"), "CheckpointConverter" | "ModelLoader" | "Sha256" | "warmUp">} Bindings */

/**
 * A running module.
 * @typedef {object} Module
 * @property {Bindings} bindings
 * @property {WebAssembly.Memory} memory
 * @property {() => Promise<number>} threads how many share its work, once those that can have started
 */

/**
 * What threads have in common.
 * @typedef {{ build: ThreadsBuild, module: WebAssembly.Module, memory: WebAssembly.Memory }} Shared
 */

const BUILDS = {
  simd128: () => import("./pkg/simd128/clip_wasm.js"),
  relaxed: () => import("./pkg/relaxed/clip_wasm.js"),
};

/** Builds whose memory threads share. */
export const THREADS_BUILDS = {
  "simd128-threads": () => import("./pkg/simd128-threads/clip_wasm.js"),
  "relaxed-threads": () => import("./pkg/relaxed-threads/clip_wasm.js"),
};

/** @typedef {keyof typeof BUILDS} SingleBuild */
/** @typedef {keyof typeof THREADS_BUILDS} ThreadsBuild */

/**
 * A module of one function, `(v128, v128, v128) -> v128`, that is one relaxed dot product: an engine without
 * relaxed SIMD finds it invalid.
 */
const RELAXED_DOT = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
  0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, // its type
  0x03, 0x02, 0x01, 0x00, // the function
  0x0a, 0x0d, 0x01, 0x0b, 0x00, // its code
  0x20, 0x00, 0x20, 0x01, 0x20, 0x02, // the three parameters
  0xfd, 0x93, 0x02, // i32x4.relaxed_dot_i8x16_i7x16_add_s
  0x0b,
]);

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
 * @param {number} threads at most; more than one take a page that is cross-origin isolated
 * @param {Promise<number | null>} fileSize bytes of the model, `null` if nobody tells
 * @returns {Promise<Module>}
 */
export async function startModule(threads, fileSize) {
  const relaxed = WebAssembly.validate(RELAXED_DOT);
  if (threads > 1 && crossOriginIsolated) {
    try {
      return await startThreads(relaxed ? "relaxed-threads" : "simd128-threads", threads, fileSize);
    } catch (error) {
      // Not built, or more memory than this browser shares: another build does the same in more time.
      console.warn(`clip-wasm runs on one thread: ${error}`);
    }
  }
  return startSingle(relaxed ? "relaxed" : "simd128");
}

/**
 * @param {SingleBuild} build
 * @returns {Promise<Module>}
 */
async function startSingle(build) {
  const bindings = await BUILDS[build]();
  const { memory } = await bindings.default({ module_or_path: await compile(build) });
  return { bindings, memory, threads: async () => 1 };
}

/**
 * @param {ThreadsBuild} build
 * @param {number} threads
 * @param {Promise<number | null>} fileSize
 * @returns {Promise<Module>}
 */
async function startThreads(build, threads, fileSize) {
  const [bindings, module] = await Promise.all([THREADS_BUILDS[build](), compile(build)]);
  const bytes = ((await fileSize) ?? UNKNOWN_FILE_BYTES) * MEMORY_PER_FILE + WORKING_BYTES;
  const maximum = Math.min(FIRST_PAGES + TAKEN_PAGES + Math.ceil(bytes / PAGE_BYTES), MOST_PAGES);
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
  await bindings.default({ module_or_path: module, memory });
  // All of it now, while nobody shares it: not every browser lets memory grow under running threads.
  if (!bindings.reserve((maximum - FIRST_PAGES - TAKEN_PAGES) * PAGE_BYTES)) throw new RangeError("too little memory");
  const started = Array.from({ length: threads - 1 }, () => startThread({ build, module, memory }));
  return {
    bindings,
    memory,
    async threads() {
      const settled = await Promise.allSettled(started);
      return 1 + settled.filter(({ status }) => status === "fulfilled").length;
    },
  };
}

/**
 * @param {Shared} shared
 * @returns {Promise<void>}
 */
async function startThread(shared) {
  const worker = new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  await new Promise((resolve, reject) => {
    worker.addEventListener("message", resolve);
    worker.addEventListener("error", reject);
    worker.postMessage(shared);
  });
}

/**
 * @param {SingleBuild | ThreadsBuild} build
 * @returns {Promise<WebAssembly.Module>}
 */
async function compile(build) {
  const response = await fetch(new URL(`./pkg/${build}/clip_wasm_bg.wasm`, import.meta.url));
  if (!response.ok) throw new Error(`${response.url}: status ${response.status}`);
  // Only what has the right type is compiled while it comes, and not every host knows it.
  return response.headers.get("content-type") === "application/wasm"
    ? WebAssembly.compileStreaming(response)
    : WebAssembly.compile(await response.arrayBuffer());
}
