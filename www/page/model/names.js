// A model's name on the page, and what one wants to know of it.

import { megabytes } from "../../lib/shared/units.js";
import { computes } from "../shell/computes.js";

/** @import { ClipEncoder, ModelInfo } from "../../clip.js" */

/**
 * The sizes of vocabularies that were made of English texts: OpenAI's for CLIP, which OpenCLIP's models have too, and that of
 * the first SigLIP, which is C4's.
 */
const ENGLISH_VOCABULARIES = { clip: 49408, siglip: 32000 };

/** A letter that is not of the Latin alphabet. */
const FOREIGN_LETTER = /(?!\p{Script=Latin})\p{L}/u;

/**
 * @param {ModelInfo} info
 * @returns {string}
 */
export function modelName({ name, type }) {
  return `${name ?? "CLIP"} · ${type}`;
}

/**
 * @param {ModelInfo} info
 * @returns {boolean} whether the model has learnt from English texts only
 */
export function knowsEnglishOnly({ family, vocabularySize }) {
  return vocabularySize === ENGLISH_VOCABULARIES[family];
}

/**
 * What the page says of a text that an English model does not understand; empty if it may.
 * @param {string} text
 * @param {boolean} isEnglishOnly whether the model knows no other language
 */
export function languageWarning(text, isEnglishOnly) {
  if (!isEnglishOnly || !FOREIGN_LETTER.test(text)) return "";
  return "This model has learnt from English texts only: what it makes of other languages means little. SigLIP 2 knows more than a hundred.";
}

/**
 * Its size, of one tower in memory; what it embeds if that is not all; what computes; and its language.
 * @param {Pick<ClipEncoder, "info" | "device" | "threads" | "memory">} encoder
 * @returns {string}
 */
export function facts(encoder) {
  const { info } = encoder;
  const only = info.towers.length === 1 && (info.towers[0] === "text" ? "texts only" : "images only");
  const size = only ? encoder.memory.weights : info.size;
  const parts = [size !== null && megabytes(size), only, computes(encoder), knowsEnglishOnly(info) && "English"];
  return parts.filter(Boolean).join(" · ");
}

/**
 * What a model gives and takes: some files have only one tower.
 * @param {ModelInfo} info
 * @returns {string}
 */
export function takes({ embeddingDimension, imageSize, contextLength }) {
  const parts = [imageSize && `images at ${imageSize} px`, contextLength && `texts to ${contextLength} tokens`];
  return [`${embeddingDimension} dimensions`, parts.filter(Boolean).join(", ")].join(" · ");
}
