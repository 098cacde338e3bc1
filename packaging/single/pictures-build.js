// The pictures' module that a single file has, for www/lib/engine/pictures-build.js.

import bytes from "packed:www/pkg/pictures/clip_wasm_bg.wasm";
import * as bindings from "../../www/pkg/pictures/clip_wasm.js";
import { unpack } from "./unpack.js";

/** @import { Build } from "../../www/lib/engine/compile.js" */
/** @import { PictureBindings } from "../../www/lib/engine/pictures-build.js" */

/** @returns {Build<PictureBindings>} */
export function picturesBuild() {
  return {
    bindings: async () => bindings,
    compile: async () => WebAssembly.compile(await (await unpack(bytes, "application/wasm")).arrayBuffer()),
  };
}
