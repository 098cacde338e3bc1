// The builds of the wasm module, and which of them runs here. Every address is written out, because that is what
// bundlers recognise.

import { platform } from "./platform.js";

/** @typedef {typeof import("./pkg/simd128/clip_wasm.js")} SingleBindings */
/** @typedef {typeof import("./pkg/simd128-threads/clip_wasm.js")} ThreadsBindings */

/**
 * @template Bindings
 * @typedef {{ bindings: () => Promise<Bindings>, compile: () => Promise<WebAssembly.Module> }} Build
 */

/** @type {Record<"simd128" | "relaxed", Build<SingleBindings>>} */
const SINGLE_BUILDS = {
  simd128: {
    bindings: () => import("./pkg/simd128/clip_wasm.js"),
    compile: () => compile(new URL("./pkg/simd128/clip_wasm_bg.wasm", import.meta.url)),
  },
  relaxed: {
    bindings: () => import("./pkg/relaxed/clip_wasm.js"),
    compile: () => compile(new URL("./pkg/relaxed/clip_wasm_bg.wasm", import.meta.url)),
  },
};

/**
 * Builds whose memory threads share.
 * @type {Record<"simd128-threads" | "relaxed-threads", Build<ThreadsBindings>>}
 */
const THREADS_BUILDS = {
  "simd128-threads": {
    bindings: () => import("./pkg/simd128-threads/clip_wasm.js"),
    compile: () => compile(new URL("./pkg/simd128-threads/clip_wasm_bg.wasm", import.meta.url)),
  },
  "relaxed-threads": {
    bindings: () => import("./pkg/relaxed-threads/clip_wasm.js"),
    compile: () => compile(new URL("./pkg/relaxed-threads/clip_wasm_bg.wasm", import.meta.url)),
  },
};

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

const RELAXED = WebAssembly.validate(RELAXED_DOT);

/**
 * The best for one thread.
 * @returns {Build<SingleBindings>}
 */
export function singleBuild() {
  return RELAXED ? SINGLE_BUILDS.relaxed : SINGLE_BUILDS.simd128;
}

/**
 * The best for several threads, `null` where there is none.
 * @returns {Build<ThreadsBindings> | null}
 */
export function threadsBuild() {
  return RELAXED ? THREADS_BUILDS["relaxed-threads"] : THREADS_BUILDS["simd128-threads"];
}

/**
 * @param {URL} url
 * @returns {Promise<WebAssembly.Module>}
 */
async function compile(url) {
  const response = await platform.fetch(url.href);
  if (!response.ok) throw new Error(`${response.url}: status ${response.status}`);
  // Only what has the right type is compiled while it comes, and not every host knows it.
  return response.headers.get("content-type") === "application/wasm"
    ? WebAssembly.compileStreaming(response)
    : WebAssembly.compile(await response.arrayBuffer());
}
