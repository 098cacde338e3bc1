// The worker with transformers.js, and a model for each tower, loaded as its documentation shows for CLIP and SigLIP.

import { answer } from "./answer.js";
import { SIGLIP_2, VIT_B_32 } from "./models.js";

/** @import { Inputs, OpenOptions } from "./contestants.js" */

const PACKAGE = "../peers/node_modules/@huggingface/transformers";
/** The file that a browser gets from a CDN: everything except the wasm. */
const LIBRARY = `${PACKAGE}/dist/transformers.min.js`;
/** The build of onnxruntime-web that it would fetch from a CDN. */
const RUNTIME = `${PACKAGE}/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify`;
/** The classes of a model's towers, and how its texts are padded. */
const CLASSES = {
  [VIT_B_32]: { image: "CLIPVisionModelWithProjection", text: "CLIPTextModelWithProjection", padding: true },
  [SIGLIP_2]: { image: "SiglipVisionModel", text: "SiglipTextModel", padding: "max_length" },
};
const VALUES = 3 * 224 * 224;

/** @type {OpenOptions["model"]} */
let model;
/** @type {any} */
let library;
/** @type {any} */
let processor;
/** @type {any} */
let image;
/** @type {any} */
let tokenizer;
/** @type {any} */
let text;
/** @type {Inputs} */
let inputs;

answer({
  /** @param {OpenOptions} options */
  async open({ towers, threads, device, ...wanted }) {
    ({ model } = wanted);
    library = await import(LIBRARY);
    const { env } = library;
    // This server takes the place of the Hub and of the CDN. All other settings, caches included, are the defaults.
    env.remoteHost = location.origin;
    env.remotePathTemplate = "target/bench/models/{model}/";
    const url = (/** @type {string} */ end) => new URL(RUNTIME + end, import.meta.url).href;
    env.backends.onnx.wasm.wasmPaths = { mjs: url(".mjs"), wasm: url(".wasm") };
    if (threads) env.backends.onnx.wasm.numThreads = threads;
    if (towers.includes("image")) {
      processor = await library.AutoProcessor.from_pretrained(model);
      image = await library[CLASSES[model].image].from_pretrained(model, { device });
    }
    if (towers.includes("text")) {
      tokenizer = await library.AutoTokenizer.from_pretrained(model);
      text = await library[CLASSES[model].text].from_pretrained(model, { device });
    }
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
    const { image_embeds } = await image({ pixel_values: new library.Tensor("float32", pixels, [count, 3, 224, 224]) });
    return image_embeds.data;
  },

  /** @param {string} set */
  async textTower(set) {
    const tokens = inputs.tokens[model][set] ?? [];
    const ids = BigInt64Array.from(tokens.flat(), BigInt);
    const { text_embeds } = await text({ input_ids: new library.Tensor("int64", ids, [tokens.length, tokens[0]?.length]) });
    return text_embeds.data;
  },

  /** @param {number} index */
  async embedImage(index) {
    const pixels = await processor(await library.RawImage.fromBlob(inputs.images[index]));
    const { image_embeds } = await image(pixels);
    return image_embeds.normalize().data;
  },

  /** @param {string} set */
  async embedText(set) {
    const { text_embeds } = await text(tokenizer(inputs.texts[set], { padding: CLASSES[model].padding, truncation: true }));
    return text_embeds.normalize().data;
  },
});
