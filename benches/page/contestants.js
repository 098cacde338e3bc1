// The libraries that are measured, behind one interface.

/** @typedef {"image" | "text"} Tower */

/**
 * @typedef {object} OpenOptions
 * @property {Tower[]} towers those that will be used; a library may be unable to open one alone
 * @property {number} [threads] as many as the library chooses, where absent
 */

/**
 * What there is to embed. Sets of texts go by their names.
 * @typedef {object} Inputs
 * @property {Blob[]} images
 * @property {Blob[]} squares photos of the tower's own size, uncompressed
 * @property {Float32Array<ArrayBuffer>} pixels the same, normalised: [8, 3, 224, 224]
 * @property {Record<string, string[]>} texts
 * @property {Record<string, number[][]>} tokens ids, each set padded to its longest
 */

/** @typedef {Float32Array | number[][]} Vectors one after the other, or each by itself */

/**
 * One library with a model open. A tower alone starts from the most prepared form of the inputs that the
 * library takes, and the other two calls from what a user has.
 * @typedef {object} Contestant
 * @property {(inputs: Inputs) => Promise<void>} prepare hands over the inputs, which no call below does
 * @property {(first: number, count: number) => Promise<Vectors>} imageTower
 * @property {(set: string) => Promise<Vectors>} textTower
 * @property {(index: number) => Promise<Vectors>} embedImage
 * @property {(set: string) => Promise<Vectors>} embedText
 */

/** @typedef {"imageTower" | "textTower" | "embedImage" | "embedText"} Call */

/** @typedef {"clip-wasm" | "onnxruntime-web" | "transformers.js"} Name */

/**
 * Each imports its library only when it is opened, so that opening includes all that a first visit costs.
 * @type {Record<Name, (options: OpenOptions) => Promise<Contestant>>}
 */
export const contestants = {
  "clip-wasm": async (options) => (await import("./clip-wasm.js")).open(options),
  "onnxruntime-web": async (options) => (await import("./onnxruntime.js")).open(options),
  "transformers.js": async (options) => (await import("./transformers.js")).open(options),
};
