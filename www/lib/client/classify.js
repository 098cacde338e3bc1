// Zero-shot classification, as in CLIP's paper: compares an image with the vectors of the labels' texts.

import { ClipError, errorOfInput } from "../shared/error.js";
import { requireList, requireTexts, typeOf } from "./inputs.js";
import { similarity } from "./similarity.js";

/** @import { ModelInfo } from "../shared/protocol.js" */

/**
 * How well a label fits an image.
 * @typedef {object} Classification
 * @property {string} label
 * @property {number} score the cosine of the image with the label's texts
 * @property {number} probability of a CLIP, among the given labels: they add up to 1, even if no label fits. Of a SigLIP,
 *   that this label fits, whatever the others are
 */

/**
 * What turns a model's cosines into probabilities.
 * @typedef {Pick<ModelInfo, "family" | "logitScale" | "logitBias">} Logits
 */

const PLACE = "{}";

/**
 * @param {string[]} labels
 * @param {string | string[] | null} template with `{}` in the label's place; `null` if the labels are whole texts
 * @returns {string[][]} the texts of each label
 */
export function promptsOf(labels, template) {
  requireTexts(labels);
  if (template === null) return labels.map((label) => [label]);
  const templates = typeof template === "string" ? [template] : template;
  const isTemplate = (/** @type {unknown} */ text) => typeof text === "string" && text.includes(PLACE);
  requireList(templates, isTemplate, `a template, which has ${PLACE} where the label goes`);
  return labels.map((label) => templates.map((text) => text.replaceAll(PLACE, () => label)));
}

/**
 * @template T
 * @param {Promise<T>} embedding of the texts of all labels
 * @param {number} share of the texts that a label has
 * @returns {Promise<T>} rejects with an error that names the label, if it is that of a text
 */
export async function ofLabels(embedding, share) {
  try {
    return await embedding;
  } catch (error) {
    if (!(error instanceof ClipError) || error.index === undefined) throw error;
    throw errorOfInput(error, Math.floor(error.index / share), Infinity, "label");
  }
}

/** @param {unknown} scale */
export function requireScale(scale) {
  if (typeof scale === "number" && scale > 0 && Number.isFinite(scale)) return;
  const found = typeof scale === "number" ? scale : typeOf(scale);
  throw new ClipError("invalid_input", `logitScale is ${found}, not a number above 0; leave it out for the model's own`);
}

/**
 * The mean of unit vectors. It does not have unit length, but a cosine depends only on its direction.
 * @param {number[][]} vectors at least one
 * @returns {number[]}
 */
export function meanOf(vectors) {
  const [first = []] = vectors;
  return first.map((_, i) => vectors.reduce((sum, vector) => sum + (vector[i] ?? NaN), 0) / vectors.length);
}

/**
 * @param {number[]} image
 * @param {string[]} labels
 * @param {number[][]} vectors of the labels
 * @param {Logits} model
 * @returns {Classification[]} the best first
 */
export function classificationOf(image, labels, vectors, model) {
  const [scores = []] = similarity([image], vectors);
  const probabilities = probabilitiesOf(scores, model);
  const all = labels.map((label, i) => ({ label, score: Number(scores[i]), probability: Number(probabilities[i]) }));
  return all.sort((a, b) => b.score - a.score);
}

/**
 * Whether a model's file says all that its probabilities need.
 * @param {Logits} model
 */
export function hasProbabilities({ family, logitBias }) {
  return family === "clip" || logitBias !== null;
}

/**
 * How likely texts are for an image. A CLIP was trained to choose one of several texts, a SigLIP to say of each whether it
 * fits.
 * @param {number[]} cosines of the image with each text
 * @param {Logits} model
 * @returns {number[]}
 */
export function probabilitiesOf(cosines, { family, logitScale, logitBias }) {
  if (family === "clip") return softmax(cosines.map((cosine) => logitScale * cosine));
  if (logitBias === null) {
    throw new ClipError("unsupported_model", "this SigLIP's file does not state its logit bias, without which a cosine is no probability: convert it again from a checkpoint with both towers, or compare cosines with similarity()");
  }
  return cosines.map((cosine) => 1 / (1 + Math.exp(-(logitScale * cosine + logitBias))));
}

/** @param {number[]} logits */
function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
