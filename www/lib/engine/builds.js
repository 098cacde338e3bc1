// The builds of the wasm module, and which of them runs here. Every address is written out, because that is what
// bundlers recognise.

import { download } from "../shared/download.js";
import { hasRelaxedSimd } from "./relaxed-simd.js";
import { ClipError } from "../shared/error.js";

/** @typedef {typeof import("../../pkg/simd128/clip_wasm.js")} SingleBindings */
/** @typedef {typeof import("../../pkg/simd128-threads/clip_wasm.js")} ThreadsBindings */

/**
 * @template Bindings
 * @typedef {{ bindings: () => Promise<Bindings>, compile: () => Promise<WebAssembly.Module> }} Build
 */

/** @type {Record<"simd128" | "relaxed", Build<SingleBindings>>} */
const SINGLE_BUILDS = {
  simd128: {
    bindings: () => import("../../pkg/simd128/clip_wasm.js"),
    compile: () => compile(new URL("../../pkg/simd128/clip_wasm_bg.wasm", import.meta.url)),
  },
  relaxed: {
    bindings: () => import("../../pkg/relaxed/clip_wasm.js"),
    compile: () => compile(new URL("../../pkg/relaxed/clip_wasm_bg.wasm", import.meta.url)),
  },
};

/**
 * Builds whose memory threads share.
 * @type {Record<"simd128-threads" | "relaxed-threads", Build<ThreadsBindings>>}
 */
const THREADS_BUILDS = {
  "simd128-threads": {
    bindings: () => import("../../pkg/simd128-threads/clip_wasm.js"),
    compile: () => compile(new URL("../../pkg/simd128-threads/clip_wasm_bg.wasm", import.meta.url)),
  },
  "relaxed-threads": {
    bindings: () => import("../../pkg/relaxed-threads/clip_wasm.js"),
    compile: () => compile(new URL("../../pkg/relaxed-threads/clip_wasm_bg.wasm", import.meta.url)),
  },
};

/**
 * The best for one thread.
 * @returns {Build<SingleBindings>}
 */
export function singleBuild() {
  return hasRelaxedSimd ? SINGLE_BUILDS.relaxed : SINGLE_BUILDS.simd128;
}

/**
 * The best for several threads, `null` where there is none.
 * @returns {Build<ThreadsBindings> | null}
 */
export function threadsBuild() {
  return hasRelaxedSimd ? THREADS_BUILDS["relaxed-threads"] : THREADS_BUILDS["simd128-threads"];
}

/** What every WebAssembly module begins with, and a whole module without anything in it. */
const EMPTY_MODULE = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/**
 * @param {URL} url
 * @returns {Promise<WebAssembly.Module>} Rejects with `network` or `http_status` where it does not come, `no_wasm` where
 *   the browser may compile none at all, and `not_wasm` where something else comes
 */
async function compile(url) {
  await requireWasm();
  const response = await download(url.href);
  const type = response.headers.get("content-type");
  // Only what has the right type is compiled while it comes, and not every host knows it.
  if (type === "application/wasm") return WebAssembly.compileStreaming(response);
  const bytes = await response.arrayBuffer();
  const isWasm = new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength)).every((byte, i) => byte === EMPTY_MODULE[i]);
  if (isWasm && bytes.byteLength > EMPTY_MODULE.length) return WebAssembly.compile(bytes);
  throw new ClipError("not_wasm", `${url} is no WebAssembly module, but ${type ?? "something without a type"}: put the files of pkg/ there`);
}

async function requireWasm() {
  try {
    await WebAssembly.compile(EMPTY_MODULE);
  } catch (cause) {
    throw new ClipError(
      "no_wasm",
      "WebAssembly, in which the encoder is written, may not run here: the page's Content-Security-Policy forbids it " +
        "(script-src 'wasm-unsafe-eval' allows it), or this browser has it switched off",
      { cause },
    );
  }
}
