// What is to be known before a search: what the model does not know, what it has not indexed, what others have.

import { elementById, newElement } from "../shell/elements.js";
import { pictures } from "./progress.js";

/** @import { FolderCount } from "./database.js" */

const place = elementById("search-note", HTMLElement);
const indexButton = newElement("button", { type: "button" });

/**
 * @param {object} facts
 * @param {string} facts.warning in a sentence; empty for none
 * @param {string} facts.limits of what the model knows, likewise
 * @param {FolderCount[]} facts.others what is kept for other models than the one in use
 * @param {boolean} facts.isLoaded whether a model is in use
 * @param {number} facts.missing pictures at hand that the model in use has not indexed
 * @param {() => void} facts.onIndex
 */
export function showNote({ warning, limits, others, isLoaded, missing, onIndex }) {
  /** @type {Map<string, number>} */
  const byModel = new Map();
  for (const { name, count } of others) byModel.set(name, (byModel.get(name) ?? 0) + count);
  const indexed = [...byModel].map(([name, count]) => `${pictures(count)} for ${name}`);
  const where = isLoaded ? "Indexed for other models than this one" : "Indexed at an earlier visit";
  const elsewhere = indexed.length > 0 ? `${where}: ${indexed.join(", ")}. Choose that model above to search them.` : "";
  const paragraphs = [warning, limits, elsewhere].filter(Boolean).map((sentence) => newElement("p", {}, sentence));
  indexButton.textContent = `Index ${pictures(missing)} for this model`;
  indexButton.onclick = onIndex;
  place.replaceChildren(...paragraphs, ...(missing > 0 ? [indexButton] : []));
  place.hidden = place.childElementCount === 0;
}
