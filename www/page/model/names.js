// What a model is called, and what it takes.

/** @import { ModelInfo } from "../../clip.js" */

/**
 * @param {ModelInfo} info
 * @returns {string}
 */
export function modelName({ name, type }) {
  return `${name ?? "CLIP"} · ${type}`;
}

/**
 * What a model takes: some files have one tower only.
 * @param {ModelInfo} info
 * @returns {string}
 */
export function towers({ imageSize, contextLength }) {
  const images = imageSize && `images at ${imageSize} px`;
  const texts = contextLength && `texts to ${contextLength} tokens`;
  return [images, texts].filter(Boolean).join(", ");
}
