// The one build of the towers' module that a single file has, for www/lib/engine/builds.js.

import bytes from "packed:www/pkg/simd128/clip_wasm_bg.wasm";
import * as bindings from "../../www/pkg/simd128/clip_wasm.js";
import { unpack } from "./unpack.js";

/** @import { SingleBindings, ThreadsBindings } from "../../www/lib/engine/builds.js" */
/** @import { Build } from "../../www/lib/engine/compile.js" */

/** @returns {Build<SingleBindings>[]} */
export function singleBuilds() {
  return [
    {
      bindings: async () => bindings,
      compile: async () => WebAssembly.compile(await (await unpack(bytes, "application/wasm")).arrayBuffer()),
    },
  ];
}

/** @returns {string[]} */
export function threadsBuildNames() {
  return [];
}

/** @returns {Build<ThreadsBindings> | null} */
export function threadsBuild() {
  return null;
}

/** A single file has no module for a GPU. */
export function webgpuBuild() {
  return null;
}
