// Builds that in-place.js gives, in place of those that are imported and fetched when they are needed.

/**
 * @template Bindings
 * @typedef {object} Given
 * @property {Bindings} [bindings]
 * @property {WebAssembly.Module} [module]
 */

export const givenBuilds = {
  /** @type {Given<typeof import("../../pkg/simd128/clip_wasm.js")>} */
  towers: {},
  /** @type {Given<typeof import("../../pkg/pictures/clip_wasm.js")>} */
  pictures: {},
};
