// Many pictures without a text: a grid of those that are alike.

import { similarity } from "../../clip.js";
import { newElement } from "../shell/elements.js";
import { framed } from "../shell/frame.js";
import { groupsOf, meanCosine } from "./clusters.js";

/** @import { Embedded } from "./input.js" */

/** Beyond this number it would take too long; for thousands there is the search. */
const MOST_PICTURES = 400;
/** Cosine from which pictures count as the same. */
const SAME = 0.999;

/**
 * @param {Embedded[]} images two or more
 * @returns {Element[]}
 */
export function pictureGroups(images) {
  const hint = newElement("p", { class: "about" }, "Add texts, one per line, to see which picture each fits. To search thousands of pictures, use “Search pictures”.");
  if (images.length > MOST_PICTURES) {
    return [newElement("p", { class: "verdict" }, `${images.length} pictures are too many to group here.`), hint];
  }
  const [first, second] = images;
  if (first && second && images.length === 2) {
    const cosine = similarity(first.vector, second.vector).toFixed(3);
    const verdict = newElement("p", { class: "verdict" }, "The cosine of the two pictures is ", newElement("strong", {}, cosine), ".");
    return [verdict, grid(images), hint];
  }
  const groups = groupsOf(images.map(({ vector }) => vector)).map((group) => group.flatMap((index) => images[index] ?? []));
  const alike = groups.filter((group) => group.length > 1);
  const alone = groups.flatMap((group) => (group.length === 1 ? group : []));
  const text = alike.length > 1 || alone.length > 0 ? "What is alike." : verdictOf(meanCosine(images.map(({ vector }) => vector)));
  const sections = alike.map((group) => section(`${group.length} pictures, cosine ${meanCosine(group.map(({ vector }) => vector)).toFixed(3)} on average`, group));
  if (alone.length > 0) sections.push(section(alone.length === 1 ? "By itself" : "Each by itself", alone));
  return [newElement("p", { class: "verdict" }, text), newElement("div", { class: "groups", tabindex: 0, role: "group", "aria-label": "Pictures by groups" }, ...sections), hint];
}

/** Of pictures that are one group. @param {number} cosine the mean of all pairs */
function verdictOf(cosine) {
  return cosine > SAME ? "These pictures are the same." : "No group stands out among these pictures.";
}

/**
 * @param {string} title
 * @param {Embedded[]} images
 */
function section(title, images) {
  return newElement("section", { class: "group" }, newElement("h3", {}, title), grid(images));
}

/** @param {Embedded[]} images */
function grid(images) {
  return newElement("ul", { class: "thumbnails" }, ...images.map(tile));
}

/** @param {Pick<Embedded, "source" | "picture">} image */
export function tile({ source, picture = "" }) {
  return newElement("li", {}, framed(picture, source), newElement("p", { class: "name", title: source }, source));
}
