// One picture without a text: which of the page's samples is nearest to it.

import { similarity } from "../../clip.js";
import { newElement } from "../shell/elements.js";
import { tile } from "./groups.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Embedded } from "./input.js" */
/** @import { SamplePicture } from "./samples.js" */

/** Of each encoder, the vectors of the samples. @type {WeakMap<ClipEncoder, Promise<number[][]>>} */
const embedded = new WeakMap();

/**
 * @param {Embedded} image
 * @param {SamplePicture[]} samples
 * @param {ClipEncoder} encoder
 * @returns {Element[]} the samples in their own order at first, by their cosines as soon as they are known
 */
export function nearestSamples(image, samples, encoder) {
  const hint = newElement("p", { class: "about" }, "Add texts, one per line, to see which fits this picture best.");
  const others = samples.filter(({ name }) => name !== image.source);
  const verdict = newElement("p", { class: "verdict" }, `This is the vector of ${image.source}.`);
  if (others.length === 0) return [verdict, hint];
  const list = newElement("ol", { class: "thumbnails", "aria-label": "The samples, nearest first" });
  const show = (/** @type {(SamplePicture & { cosine?: number })[]} */ pictures) => {
    list.replaceChildren(...pictures.map(({ name, url, cosine }) => {
      const item = tile({ source: name, picture: url });
      item.append(newElement("p", { class: "score" }, cosine === undefined ? "…" : cosine.toFixed(3)));
      return item;
    }));
  };
  show(others);
  vectorsOf(samples, encoder).then(
    (vectors) => {
      const scored = samples.map((sample, index) => ({ ...sample, cosine: similarity(image.vector, vectors[index] ?? []) }));
      show(scored.filter(({ name }) => name !== image.source).sort((a, b) => b.cosine - a.cosine));
    },
    () => list.remove(), // without them the result is still complete
  );
  verdict.append(" Of the samples, the nearest comes first:");
  return [verdict, list, hint];
}

/**
 * @param {SamplePicture[]} samples
 * @param {ClipEncoder} encoder
 */
function vectorsOf(samples, encoder) {
  let vectors = embedded.get(encoder);
  if (!vectors) {
    vectors = encoder.embedImage(samples.map(({ url }) => url)).then(({ data }) => data);
    vectors.catch(() => embedded.delete(encoder));
    embedded.set(encoder, vectors);
  }
  return vectors;
}
