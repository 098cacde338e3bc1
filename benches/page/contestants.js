// The libraries that are measured, with a common interface.

/** @typedef {"image" | "text"} Tower */

/** @typedef {typeof import("./models.js")["VIT_B_32" | "SIGLIP_2"]} Model */

/**
 * @typedef {object} OpenOptions
 * @property {Model} model
 * @property {Tower[]} towers that will be used; a library may not be able to open only one
 * @property {number} [threads] by default, as many as the library chooses
 * @property {"webgpu"} [device] by default the processor
 */

/**
 * The inputs. Sets of texts have names. Both models take squares of the same size; pixels are normalised as CLIP does it.
 * @typedef {object} Inputs
 * @property {Blob[]} images
 * @property {Blob[]} squares photos of the tower's input size, uncompressed
 * @property {Float32Array<ArrayBuffer>} pixels the same, normalised: [8, 3, 224, 224]
 * @property {Record<string, string[]>} texts
 * @property {Record<Model, Record<string, number[][]>>} tokens ids, each set padded as the model's texts are
 */

/** @typedef {Float32Array | number[][]} Vectors all in one array, or one array each */

/**
 * One library with an open model. The calls for a tower alone start from the most prepared form of the inputs that the
 * library accepts. The other two start from what a user has: an image's file, or strings.
 * @typedef {object} Contestant
 * @property {(inputs: Inputs) => Promise<void>} prepare passes the inputs, so that no call below has to
 * @property {(first: number, count: number) => Promise<Vectors>} imageTower
 * @property {(set: string) => Promise<Vectors>} textTower
 * @property {(index: number) => Promise<Vectors>} embedImage
 * @property {(set: string) => Promise<Vectors>} embedText
 */

/** @typedef {"imageTower" | "textTower" | "embedImage" | "embedText"} Call */

/** @typedef {"clip-wasm" | "onnxruntime-web" | "transformers.js"} Name */

/**
 * Each imports its library only when it is opened, so that the time to open includes everything that a first visit
 * needs.
 * @type {Record<Name, (options: OpenOptions) => Promise<Contestant>>}
 */
export const contestants = {
  "clip-wasm": async (options) => (await import("./clip-wasm.js")).open(options),
  "onnxruntime-web": async (options) => (await import("./onnxruntime.js")).open(options),
  "transformers.js": async (options) => (await import("./transformers.js")).open(options),
};
