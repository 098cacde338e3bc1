// The API for contexts that can neither start a worker nor import modules later, such as service workers and edge
// runtimes: that of clip.js, but encoders work where they are called, on one thread.

import { inPlace } from "./lib/client/in-place-worker.js";
import { givenBuilds } from "./lib/engine/given-builds.js";
import { environment } from "./lib/shared/environment.js";
import { serveInPlace } from "./lib/worker/in-place.js";
import * as pictures from "./pkg/pictures/clip_wasm.js";
import * as towers from "./pkg/simd128/clip_wasm.js";

export * from "./clip.js";

environment.worker = false;
inPlace.serve = async () => serveInPlace;
givenBuilds.towers.bindings = towers;
givenBuilds.pictures.bindings = pictures;

/**
 * Gives the WebAssembly modules, for runtimes that cannot compile what they fetch. Without this call, they are fetched
 * from beside this file.
 * @param {object} modules
 * @param {WebAssembly.Module} modules.towers of `clip-wasm/towers.wasm`
 * @param {WebAssembly.Module} [modules.pictures] of `clip-wasm/pictures.wasm`; texts do not need it
 */
export function useModules({ towers, pictures }) {
  givenBuilds.towers.module = towers;
  givenBuilds.pictures.module = pictures;
}
