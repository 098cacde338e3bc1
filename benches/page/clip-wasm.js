// clip-wasm through its public API, which brings its own worker.

import { ClipEncoder } from "../../www/clip.js";

/** @import { Contestant, Inputs, OpenOptions } from "./contestants.js" */

const MODEL = "/target/bench/models/vit-b-32.q8_0.gguf";

/**
 * @param {OpenOptions} options the file has both towers, so both are opened always
 * @returns {Promise<Contestant>}
 */
export async function open({ threads }) {
  const clip = await ClipEncoder.load(MODEL, { threads });
  /** @type {Inputs} */
  let inputs;
  return {
    async prepare(given) {
      inputs = given;
    },
    // There is no call that takes normalised pixels: decoding a bitmap and normalising it is on top.
    async imageTower(first, count) {
      return (await clip.embedImage(inputs.squares.slice(first, first + count))).data;
    },
    // Nor one that takes tokens.
    async textTower(set) {
      return (await clip.embedText(inputs.texts[set] ?? [])).data;
    },
    async embedImage(index) {
      return (await clip.embedImage(inputs.images.slice(index, index + 1))).data;
    },
    async embedText(set) {
      return (await clip.embedText(inputs.texts[set] ?? [])).data;
    },
  };
}
