// The calls that are timed, and the kinds of page they are timed on.

import { SIGLIP_2, VIT_B_32 } from "./page/models.js";

/** @import { Call, Model, Name } from "./page/contestants.js" */

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {Call} call
 * @property {unknown[]} params
 * @property {boolean} [long] a call takes seconds, so fewer rounds are run
 */

/**
 * @typedef {object} Setup
 * @property {string} name
 * @property {Model} model
 * @property {boolean} isolated whether the page can share memory between threads
 * @property {number} [threads] by default, as many as each library chooses
 * @property {"webgpu"} [device] by default the processor, which is all that the browser offers
 * @property {Case[]} cases
 */

/** @type {Name[]} */
export const CONTESTANTS = ["clip-wasm", "onnxruntime-web", "transformers.js"];

/** @type {Case[]} */
const SHORT_CASES = [
  { name: "image tower, 1 image", call: "imageTower", params: [0, 1] },
  { name: "text tower, 12 tokens", call: "textTower", params: ["short"] },
  { name: "JPEG 1024 x 768 to vector", call: "embedImage", params: [0] },
  { name: "string of 12 tokens to vector", call: "embedText", params: ["short"] },
];

/** @type {Case[]} */
const ALL_CASES = [
  ...SHORT_CASES,
  { name: "image tower, 8 images", call: "imageTower", params: [0, 8], long: true },
  { name: "text tower, 77 tokens", call: "textTower", params: ["long"] },
  { name: "text tower, 32 captions", call: "textTower", params: ["captions"], long: true },
  { name: "32 captions to vectors", call: "embedText", params: ["captions"], long: true },
];

/** Of SigLIP, whose texts always have 64 tokens. @type {Case[]} */
const SIGLIP_CASES = [
  { name: "image tower, 1 image", call: "imageTower", params: [0, 1] },
  { name: "text tower, 64 tokens", call: "textTower", params: ["short"] },
  { name: "JPEG 1024 x 768 to vector", call: "embedImage", params: [0] },
  { name: "string to vector", call: "embedText", params: ["short"] },
];

/** @type {Setup[]} */
export const SETUPS = [
  { name: "1 thread", model: VIT_B_32, isolated: true, threads: 1, cases: ALL_CASES },
  { name: "2 threads", model: VIT_B_32, isolated: true, threads: 2, cases: ALL_CASES },
  { name: "plain static host, defaults of each", model: VIT_B_32, isolated: false, cases: SHORT_CASES },
  { name: "isolated page, defaults of each", model: VIT_B_32, isolated: true, cases: SHORT_CASES },
  { name: "SigLIP 2 B/16-224, 1 thread", model: SIGLIP_2, isolated: true, threads: 1, cases: SIGLIP_CASES },
  { name: "SigLIP 2 B/16-224, 2 threads", model: SIGLIP_2, isolated: true, threads: 2, cases: SIGLIP_CASES },
];

/** With WebGPU, if the machine has a GPU. The other libraries compute in f32 there, as they do by default. @type {Setup} */
export const WEBGPU = { name: "WebGPU", model: VIT_B_32, isolated: false, device: "webgpu", cases: ALL_CASES };

/**
 * The contestants of a call: onnxruntime-web only runs towers.
 * @param {Call} call
 * @returns {Name[]}
 */
export function contestantsOf(call) {
  return CONTESTANTS.filter((name) => name !== "onnxruntime-web" || call.endsWith("Tower"));
}
