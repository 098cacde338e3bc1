// The note above the search: what the model does not know, which pictures it has not indexed, and which are indexed for
// other models.

import { elementById, newElement } from "../shell/elements.js";
import { pictures } from "./progress.js";

/** @import { FolderCount } from "./database.js" */

const place = elementById("search-note", HTMLElement);
const indexButton = newElement("button", { type: "button" });

/**
 * @param {object} facts
 * @param {string} facts.warning a sentence; empty for none
 * @param {string} facts.limits a sentence about what the model does not know; empty for none
 * @param {FolderCount[]} facts.others what is stored for models that are not in use
 * @param {boolean} facts.isLoaded whether a model is in use
 * @param {number} facts.missing number of open pictures that are not indexed for the model in use
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
