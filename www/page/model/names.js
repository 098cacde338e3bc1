// A model's name on the page, and the inputs that it takes.

/** @import { ModelInfo } from "../../clip.js" */

/**
 * @param {ModelInfo} info
 * @returns {string}
 */
export function modelName({ name, type }) {
  return `${name ?? "CLIP"} · ${type}`;
}

/**
 * The inputs that a model takes: some files have only one tower.
 * @param {ModelInfo} info
 * @returns {string}
 */
export function towers({ imageSize, contextLength }) {
  const images = imageSize && `images at ${imageSize} px`;
  const texts = contextLength && `texts to ${contextLength} tokens`;
  return [images, texts].filter(Boolean).join(", ");
}
