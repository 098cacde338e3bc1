// What the inputs say about each other: images with texts, images alone, texts alone.

import { elementById, newElement } from "../shell/elements.js";
import { comparison } from "./compare.js";
import { pictureGroups } from "./groups.js";
import { textMatrix } from "./matrix.js";
import { nearestSamples } from "./nearest-samples.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Embedded } from "./input.js" */
/** @import { SamplePicture } from "./samples.js" */

/** A larger table is too large to read. */
const MOST_CELLS = 2000;

const place = elementById("comparison", HTMLElement);

/**
 * @param {Embedded[]} embedded at least one
 * @param {SamplePicture[]} samples
 * @param {ClipEncoder} encoder
 */
export function showRelations(embedded, samples, encoder) {
  place.replaceChildren(...relations(embedded, samples, encoder));
  place.hidden = false;
}

export function hideRelations() {
  place.hidden = true;
  place.replaceChildren();
}

/**
 * @param {Embedded[]} embedded
 * @param {SamplePicture[]} samples
 * @param {ClipEncoder} encoder
 * @returns {Element[]}
 */
function relations(embedded, samples, encoder) {
  const texts = embedded.filter(({ kind }) => kind === "text");
  const images = embedded.filter(({ kind }) => kind === "image");
  const [first] = images;
  const isTooLarge = texts.length * (images.length || texts.length) > MOST_CELLS;
  if (isTooLarge) return [newElement("p", { class: "about" }, "There are too many inputs for a table of their cosines.")];
  if (first && texts.length > 0) return comparison(texts, images, encoder.info);
  if (first && images.length === 1) return nearestSamples(first, samples, encoder);
  if (first) return pictureGroups(images);
  if (texts.length > 1) return textMatrix(texts);
  return [newElement("p", { class: "about" }, "This is the vector of the text. Add pictures, or more texts, to compare it with.")];
}
