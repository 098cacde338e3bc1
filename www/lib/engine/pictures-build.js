// The one build of the pictures' module: it needs neither threads nor relaxed SIMD.

import { compile } from "./compile.js";
import { givenBuilds } from "./given-builds.js";

/** @import { Build } from "./compile.js" */

/** @typedef {typeof import("../../pkg/pictures/clip_wasm.js")} PictureBindings */

/** @returns {Build<PictureBindings>} */
export function picturesBuild() {
  return {
    bindings: async () => givenBuilds.pictures.bindings ?? import("../../pkg/pictures/clip_wasm.js"),
    compile: async () => givenBuilds.pictures.module ?? compile(new URL("../../pkg/pictures/clip_wasm_bg.wasm", import.meta.url)),
  };
}
