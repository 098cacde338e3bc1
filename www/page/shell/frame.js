// A square that shows a picture.

import { newElement } from "./elements.js";

/**
 * @param {string} url
 * @param {string} name of the file, whose ending is shown if this browser cannot show its format: the module may decode it
 * @returns {HTMLDivElement}
 */
export function framed(url, name) {
  const frame = newElement("div", { class: "frame" });
  const picture = newElement("img", { alt: "", src: url });
  picture.addEventListener("error", () => {
    frame.dataset.format = formatOf(name);
    picture.remove();
  });
  frame.append(picture);
  return frame;
}

/** @param {string} name of a file @returns {string} its ending, as short as a square needs it */
export function formatOf(name) {
  return name.split(".").pop()?.slice(0, 5) ?? "?";
}
