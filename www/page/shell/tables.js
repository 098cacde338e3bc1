// Tables of pictures and texts.

import { newElement } from "./elements.js";

/**
 * @param {"col" | "row"} scope
 * @param {string} text
 */
export function header(scope, text) {
  return newElement("th", { scope, title: text }, text);
}

/**
 * The header of a picture's column.
 * @param {string} name
 * @param {string} [url]
 */
export function pictureHeader(name, url) {
  const element = header("col", name);
  if (!url) return element;
  const thumbnail = newElement("img", { src: url, alt: "" });
  // The browser cannot show this format.
  thumbnail.addEventListener("error", () => thumbnail.remove());
  element.prepend(thumbnail);
  return element;
}

/**
 * A table that scrolls if it is too large, also with the keyboard.
 * @param {HTMLTableElement} table
 * @param {string} name for screen readers
 */
export function scrolling(table, name) {
  return newElement("div", { class: "table", tabindex: 0, role: "group", "aria-label": name }, table);
}
