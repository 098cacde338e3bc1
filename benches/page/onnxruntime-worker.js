// The worker with onnxruntime-web, and a session for each tower.

import { answer } from "./answer.js";

/** @import { Inputs, OpenOptions } from "./contestants.js" */

const LIBRARIES = "../peers/node_modules/onnxruntime-web/dist";
const MODELS = "/target/bench/models";
const VALUES = 3 * 224 * 224;

/** @type {any} */
let ort;
/** @type {OpenOptions["model"]} */
let model;
/** @type {OpenOptions["device"]} */
let device;
/** @type {any} */
let image;
/** @type {any} */
let text;
/** @type {Inputs} */
let inputs;

/**
 * Uses a separate URL: transformers.js reads the same files, and neither library may find them in the browser's cache
 * because of the other.
 * @param {string} file
 */
async function createSession(file) {
  return ort.InferenceSession.create(`${MODELS}/${model}/onnx/${file}?for=onnxruntime-web`, device && { executionProviders: [device] });
}

answer({
  /** @param {OpenOptions} options */
  async open({ towers, threads, ...wanted }) {
    ({ model, device } = wanted);
    ort = await import(`${LIBRARIES}/ort.${device ?? "wasm"}.min.mjs`);
    if (threads) ort.env.wasm.numThreads = threads;
    const end = device ? ".onnx" : "_quantized.onnx";
    if (towers.includes("image")) image = await createSession(`vision_model${end}`);
    if (towers.includes("text")) text = await createSession(`text_model${end}`);
  },

  /** @param {Inputs} given */
  prepare(given) {
    inputs = given;
  },

  /**
   * @param {number} first
   * @param {number} count
   */
  async imageTower(first, count) {
    const pixels = inputs.pixels.subarray(first * VALUES, (first + count) * VALUES);
    const { image_embeds } = await image.run({ pixel_values: new ort.Tensor("float32", pixels, [count, 3, 224, 224]) });
    return image_embeds.data;
  },

  /** @param {string} set */
  async textTower(set) {
    const tokens = inputs.tokens[model][set] ?? [];
    const ids = BigInt64Array.from(tokens.flat(), BigInt);
    const { text_embeds } = await text.run({ input_ids: new ort.Tensor("int64", ids, [tokens.length, tokens[0]?.length]) });
    return text_embeds.data;
  },
});
