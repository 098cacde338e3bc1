// The builds of the towers' module, and which of them run here. Every URL is written out in full, because bundlers
// recognise only that.

import { compile } from "./compile.js";
import { givenBuilds } from "./given-builds.js";
import { hasRelaxedSimd } from "./relaxed-simd.js";

/** @import { Build } from "./compile.js" */

/** @typedef {typeof import("../../pkg/simd128/clip_wasm.js")} SingleBindings */
/** @typedef {typeof import("../../pkg/simd128-threads/clip_wasm.js")} ThreadsBindings */

/** @typedef {typeof import("../../pkg/webgpu/clip_wasm.js")} WebGpuBindings */

/** @typedef {Build<SingleBindings> & { name: string }} SingleBuild */

/** @type {Record<"simd128" | "relaxed", SingleBuild>} */
const SINGLE_BUILDS = {
  simd128: {
    name: "simd128",
    bindings: async () => givenBuilds.towers.bindings ?? import("../../pkg/simd128/clip_wasm.js"),
    compile: async () => givenBuilds.towers.module ?? compile(new URL("../../pkg/simd128/clip_wasm_bg.wasm", import.meta.url)),
  },
  relaxed: {
    name: "relaxed",
    bindings: () => import("../../pkg/relaxed/clip_wasm.js"),
    compile: () => compile(new URL("../../pkg/relaxed/clip_wasm_bg.wasm", import.meta.url)),
  },
};

/**
 * Builds with threads, which share the module's memory, by their names.
 * @type {Record<string, Build<ThreadsBindings>>}
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

/** @type {Build<WebGpuBindings> & { name: string }} */
const WEBGPU_BUILD = {
  name: "webgpu",
  bindings: () => import("../../pkg/webgpu/clip_wasm.js"),
  compile: () => compile(new URL("../../pkg/webgpu/clip_wasm_bg.wasm", import.meta.url)),
};

/**
 * The build that computes on a GPU. It is a module of its own, so that browsers without a GPU fetch none of it.
 * @returns {(Build<WebGpuBindings> & { name: string }) | null} `null` if the caller has given another build to use
 */
export function webgpuBuild() {
  return givenBuilds.towers.bindings ? null : WEBGPU_BUILD;
}

/**
 * The builds for one thread, the fastest first.
 * @returns {SingleBuild[]}
 */
export function singleBuilds() {
  const { simd128, relaxed } = SINGLE_BUILDS;
  return hasRelaxedSimd && !givenBuilds.towers.bindings ? [relaxed, simd128] : [simd128];
}

/**
 * The names of the builds for several threads, the fastest first. {@link threadsBuild} gives the builds.
 * @returns {string[]}
 */
export function threadsBuildNames() {
  return hasRelaxedSimd ? ["relaxed-threads", "simd128-threads"] : ["simd128-threads"];
}

/**
 * @param {string} name
 * @returns {Build<ThreadsBindings> | null}
 */
export function threadsBuild(name) {
  return THREADS_BUILDS[name] ?? null;
}
