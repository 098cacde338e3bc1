// clip-wasm, through its public API, which has its own worker.

import { ClipEncoder } from "../../www/clip.js";

/** @import { Contestant, Inputs, OpenOptions, Tower } from "./contestants.js" */

const MODELS = "/target/bench/models";
/** @type {Record<Tower, "vision" | "text">} */
const TOWERS = { image: "vision", text: "text" };

/**
 * @param {OpenOptions} options
 * @returns {Promise<Contestant>}
 */
export async function open({ model, towers, threads, device }) {
  const clip = await ClipEncoder.load(`${MODELS}/${model}.q8_0.gguf`, { towers: towers.map((tower) => TOWERS[tower]), threads, device });
  if (device && clip.device.name !== device) throw new Error(`clip-wasm computes on ${clip.device.name}`);
  /** @type {Inputs} */
  let inputs;
  return {
    async prepare(given) {
      inputs = given;
    },
    // There is no call that takes normalised pixels, so the time includes decoding a bitmap and normalising it.
    async imageTower(first, count) {
      return (await clip.embedImage(inputs.squares.slice(first, first + count))).data;
    },
    // There is no call that takes tokens either.
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
