// The comparison: the cosine of every image with every text, and which text fits an image best.

import { similarity } from "../clip.js";
import { elementById } from "./elements.js";

/** @import { Embedded } from "./result.js" */

/** Beyond this, a table is no longer something to look at. */
const MOST_CELLS = 2000;

const place = elementById("comparison", HTMLElement);

/**
 * Shows the table where there are both images and texts, and nothing otherwise.
 * @param {Embedded[]} embedded
 */
export function showComparison(embedded) {
  const texts = embedded.filter(({ kind }) => kind === "text");
  const images = embedded.filter(({ kind }) => kind === "image");
  const cells = texts.length * images.length;
  place.hidden = cells === 0 || cells > MOST_CELLS;
  place.replaceChildren();
  if (place.hidden) return;
  const columns = images.map((image) => texts.map((text) => similarity(image.vector, text.vector)));
  place.append(verdict(texts, images, columns), table(texts, images, columns));
}

/**
 * In a sentence, for one image; a table of several speaks for itself.
 * @param {Embedded[]} texts
 * @param {Embedded[]} images
 * @param {number[][]} columns
 */
function verdict(texts, images, columns) {
  const sentence = document.createElement("p");
  sentence.className = "verdict";
  const [image, column] = [images[0], columns[0]];
  if (images.length > 1 || texts.length === 1 || !image || !column) {
    sentence.textContent = "The cosine of each image with each text: the higher, the closer in meaning.";
    return sentence;
  }
  const best = document.createElement("strong");
  best.textContent = texts[indexOfLargest(column)]?.label ?? "";
  sentence.append(best, ` fits ${image.label} best.`);
  return sentence;
}

/**
 * A row for each text, a column for each image.
 * @param {Embedded[]} texts
 * @param {Embedded[]} images
 * @param {number[][]} columns
 */
function table(texts, images, columns) {
  const element = document.createElement("table");
  const caption = element.createCaption();
  caption.className = "unseen";
  caption.textContent = "Cosine of each image with each text";
  const head = element.createTHead().insertRow();
  head.append(header("col", "Text"), ...images.map(imageHeader));
  const body = element.createTBody();
  const best = columns.map(indexOfLargest);
  for (const [row, text] of texts.entries()) {
    const line = body.insertRow();
    line.append(header("row", text.label));
    for (const [index, column] of columns.entries()) {
      line.append(cell(column, row, texts.length > 1 && best[index] === row));
    }
  }
  const scroller = document.createElement("div");
  scroller.className = "table";
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "group");
  scroller.setAttribute("aria-label", caption.textContent);
  scroller.append(element);
  return scroller;
}

/**
 * @param {"col" | "row"} scope
 * @param {string} text
 */
function header(scope, text) {
  const element = document.createElement("th");
  element.scope = scope;
  element.textContent = text;
  element.title = text;
  return element;
}

/** @param {Embedded} image */
function imageHeader({ label, picture }) {
  const element = header("col", label);
  if (picture) {
    const thumbnail = document.createElement("img");
    thumbnail.src = picture;
    thumbnail.alt = "";
    // A format this browser does not show.
    thumbnail.addEventListener("error", () => thumbnail.remove());
    element.prepend(thumbnail);
  }
  return element;
}

/**
 * @param {number[]} column
 * @param {number} row
 * @param {boolean} isBest
 */
function cell(column, row, isBest) {
  const value = column[row] ?? NaN;
  const element = document.createElement("td");
  const number = document.createElement(isBest ? "strong" : "span");
  number.textContent = value.toFixed(3);
  element.style.setProperty("--share", `${Math.max(0, value / Math.max(...column, 1e-9)) * 100}%`);
  element.append(number);
  if (isBest) {
    element.className = "best";
    const mark = document.createElement("span");
    mark.className = "unseen";
    mark.textContent = ", the best";
    element.append(mark);
  }
  return element;
}

/** @param {number[]} values */
function indexOfLargest(values) {
  return values.indexOf(Math.max(...values));
}
