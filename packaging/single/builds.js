// The one build of the wasm module that a single file has, for www/lib/engine/builds.js.

import bytes from "packed:www/pkg/simd128/clip_wasm_bg.wasm";
import * as bindings from "../../www/pkg/simd128/clip_wasm.js";
import { unpack } from "./unpack.js";

/** @import { Build, SingleBindings, ThreadsBindings } from "../../www/lib/engine/builds.js" */

/** @returns {Build<SingleBindings>} */
export function singleBuild() {
  return {
    bindings: async () => bindings,
    compile: async () => WebAssembly.compile(await (await unpack(bytes, "application/wasm")).arrayBuffer()),
  };
}

/** @returns {Build<ThreadsBindings> | null} */
export function threadsBuild() {
  return null;
}
