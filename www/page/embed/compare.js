// The comparison: the cosine of every image with every text, and how likely each text is if exactly one is right.

import { hasProbabilities, probabilitiesOf } from "../../lib/client/classify.js";
import { similarity } from "../../clip.js";
import { newElement } from "../shell/elements.js";
import { label } from "./input.js";
import { header, pictureHeader, scrolling } from "../shell/tables.js";

/** @import { Logits } from "../../lib/client/classify.js" */
/** @import { Embedded } from "./input.js" */

/**
 * An image with each text, in the order of the texts.
 * @typedef {{ image: Embedded, cosines: number[], probabilities: number[] | null }} Column
 */

/**
 * @param {Embedded[]} texts at least one
 * @param {Embedded[]} images at least one
 * @param {Logits} model
 * @returns {Element[]}
 */
export function comparison(texts, images, model) {
  const columns = images.map((image) => compare(image, texts, model));
  const [only] = columns;
  if (!only || columns.length > 1) return [verdict(texts, columns), table(texts, columns), meaning(texts, model)];
  // For one image, the texts are sorted by how well they fit.
  const { image, cosines } = only;
  const sorted = [...cosines.keys()].sort((a, b) => Number(cosines[b]) - Number(cosines[a])).flatMap((index) => texts[index] ?? []);
  const column = [compare(image, sorted, model)];
  return [verdict(sorted, column), table(sorted, column), meaning(sorted, model)];
}

/**
 * @param {Embedded} image
 * @param {Embedded[]} texts
 * @param {Logits} model
 * @returns {Column}
 */
function compare(image, texts, model) {
  const cosines = texts.map(({ vector }) => similarity(image.vector, vector));
  // A softmax over one text is always 1.
  const isSaid = hasProbabilities(model) && (texts.length > 1 || model.family === "siglip");
  return { image, cosines, probabilities: isSaid ? probabilitiesOf(cosines, model) : null };
}

/**
 * The result in a sentence, for one image; with several, the table is enough.
 * @param {Embedded[]} texts
 * @param {Column[]} columns
 */
function verdict(texts, columns) {
  const column = columns[0];
  if (columns.length > 1 || texts.length === 1 || !column) {
    return newElement("p", { class: "verdict" }, "Each image with each text.");
  }
  const best = newElement("strong", {}, texts[0] ? label(texts[0]) : "");
  return newElement("p", { class: "verdict" }, best, ` fits ${label(column.image)} best.`);
}

/**
 * @param {Embedded[]} texts
 * @param {Logits} model
 */
function meaning(texts, model) {
  const { family, logitScale, logitBias } = model;
  const round = (/** @type {number} */ number) => Math.round(number * 10) / 10;
  const close = "The cosine says how close an image and a text are in meaning";
  if (family === "siglip") {
    if (logitBias === null) return newElement("p", { class: "about" }, `${close}.`);
    const percent = `. The percentages say how likely it is that a text fits an image (sigmoid of ${round(logitScale)} × cosine − ${round(-logitBias)}), each by itself: several may fit, or none. Half is reached at a cosine of ${(-logitBias / logitScale).toFixed(3)}.`;
    return newElement("p", { class: "about" }, close + percent);
  }
  const cosine = `${close}; between a photo and its caption, CLIP seldom gives more than 0.35.`;
  const percent = ` The percentages say how likely each text is if exactly one of these ${texts.length} is right (softmax of ${round(logitScale)} × cosine): they compare these texts, and say nothing about others.`;
  return newElement("p", { class: "about" }, texts.length > 1 ? cosine + percent : cosine);
}

/**
 * A row for each text, a column for each image.
 * @param {Embedded[]} texts
 * @param {Column[]} columns
 */
function table(texts, columns) {
  const element = newElement("table", {});
  const caption = element.createCaption();
  caption.className = "unseen";
  caption.textContent = "How well each image fits: probability, and cosine";
  const head = element.createTHead().insertRow();
  head.append(header("col", "Text"), ...columns.map(({ image }) => pictureHeader(label(image), columns.length > 1 ? image.picture : undefined)));
  const body = element.createTBody();
  for (const [row, text] of texts.entries()) {
    const line = body.insertRow();
    line.append(header("row", label(text)), ...columns.map((column) => cell(column, row)));
  }
  return scrolling(element, caption.textContent);
}

/**
 * @param {Column} column
 * @param {number} row
 */
function cell({ cosines, probabilities }, row) {
  const cosine = cosines[row] ?? NaN;
  const number = newElement("span", { class: "cosine" }, cosine.toFixed(3));
  if (!probabilities) return newElement("td", {}, number);
  const probability = probabilities[row] ?? NaN;
  const isBest = cosines.length > 1 && cosine === Math.max(...cosines);
  const chance = newElement(isBest ? "strong" : "span", { class: "probability" }, percent(probability));
  const element = newElement("td", {}, chance, " ", number);
  element.style.setProperty("--share", `${probability * 100}%`);
  if (isBest) {
    element.classList.add("best");
    element.append(newElement("span", { class: "unseen" }, ", the best"));
  }
  return element;
}

/** @param {number} probability */
function percent(probability) {
  if (probability < 0.001) return "< 0.1 %";
  return `${(probability * 100).toFixed(1)} %`;
}
