// Texts beside each other: the cosine of each with each.

import { similarity } from "../../clip.js";
import { newElement } from "../shell/elements.js";
import { header, scrolling } from "../shell/tables.js";
import { label } from "./input.js";

/** @import { Embedded } from "./input.js" */

/**
 * @param {Embedded[]} texts two or more
 * @returns {Element[]}
 */
export function textMatrix(texts) {
  const cosines = texts.map((row) => texts.map((column) => similarity(row.vector, column.vector)));
  const others = cosines.map((row, index) => row.filter((_, other) => other !== index));
  const [least, most] = [Math.min(...others.flat()), Math.max(...others.flat())];
  const element = newElement("table", { class: "matrix" });
  const caption = element.createCaption();
  caption.className = "unseen";
  caption.textContent = "Cosine of each text with each";
  const head = element.createTHead().insertRow();
  head.append(header("col", "Text"), ...texts.map((text) => header("col", label(text))));
  const body = element.createTBody();
  for (const [row, text] of texts.entries()) {
    const line = body.insertRow();
    const nearest = Math.max(...(others[row] ?? []));
    line.append(header("row", label(text)));
    for (const [column, cosine] of (cosines[row] ?? []).entries()) {
      const cell = newElement("td", {});
      line.append(cell);
      if (row === column) {
        cell.append(newElement("span", { class: "hint" }, "–"));
        continue;
      }
      const isNearest = texts.length > 2 && cosine === nearest;
      cell.append(newElement(isNearest ? "strong" : "span", {}, cosine.toFixed(3)));
      if (isNearest) cell.append(newElement("span", { class: "unseen" }, ", the nearest of its row"));
      cell.style.setProperty("--share", `${most > least ? (100 * (cosine - least)) / (most - least) : 0}%`);
    }
  }
  const nearest = texts.length > 2 ? " In each row the nearest text stands out." : "";
  return [
    newElement("p", { class: "verdict" }, "How close the texts are to each other."),
    scrolling(element, caption.textContent),
    newElement("p", { class: "about" }, `Cosines: 1 for the same meaning.${nearest} Add a picture to see which text fits it.`),
  ];
}
