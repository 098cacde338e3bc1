// The page's part of the benchmark: opens one contestant, times its calls, and returns its vectors.

import { contestants } from "./contestants.js";

/** @import { Call, Contestant, Inputs, Name, OpenOptions, Vectors } from "./contestants.js" */

const INPUTS = "/target/bench/inputs";
const DIMENSION = 512;

/** @type {Contestant} */
let contestant;

/**
 * @param {Name} name
 * @param {OpenOptions} options
 * @returns {Promise<number>} milliseconds
 */
export async function open(name, options) {
  const begin = performance.now();
  contestant = await contestants[name](options);
  return performance.now() - begin;
}

/** Passes the inputs to the contestant. This is apart from `open`, and must not be part of a timed call. */
export async function prepare() {
  await contestant.prepare(await fetchInputs());
}

/**
 * @param {Call} call
 * @param {any[]} params
 * @returns {Promise<number>} milliseconds from the call to its result, both on the page
 */
export async function time(call, params) {
  const begin = performance.now();
  await run(call, params);
  return performance.now() - begin;
}

/**
 * @param {Call} call
 * @param {any[]} params
 * @returns {Promise<number[][]>}
 */
export async function vectors(call, params) {
  const result = await run(call, params);
  if (!(result instanceof Float32Array)) return result;
  const count = result.length / DIMENSION;
  return Array.from({ length: count }, (_, i) => Array.from(result.subarray(i * DIMENSION, (i + 1) * DIMENSION)));
}

/**
 * @param {Call} call
 * @param {any[]} params
 * @returns {Promise<Vectors>}
 */
function run(call, params) {
  const method = /** @type {(...params: any[]) => Promise<Vectors>} */ (contestant[call]);
  return method(...params);
}

/** @returns {Promise<Inputs>} */
async function fetchInputs() {
  const { images, texts, tokens } = await (await get("inputs.json")).json();
  const squares = Array.from({ length: images.length - 1 }, (_, index) => `square-${index}.bmp`);
  const blobs = async (/** @type {string[]} */ names) =>
    Promise.all(names.map(async (name) => (await get(name)).blob()));
  const pixels = new Float32Array(await (await get("pixels.f32")).arrayBuffer());
  return { images: await blobs(images), squares: await blobs(squares), pixels, texts, tokens };
}

/** @param {string} name */
async function get(name) {
  const response = await fetch(`${INPUTS}/${name}`);
  if (!response.ok) throw new Error(`${response.url}: status ${response.status}`);
  return response;
}
