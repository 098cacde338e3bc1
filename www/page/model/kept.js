// The list of models that are stored on this device, with their sizes and buttons that delete them.

import { deleteKeptModel, keptModels } from "../../clip.js";
import { elementById, newElement } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { megabytes } from "../../lib/shared/units.js";

/** @import { KeptModel } from "../../clip.js" */

const panel = elementById("kept", HTMLDetailsElement);
const summary = elementById("kept-summary", HTMLElement);
const list = elementById("kept-list", HTMLUListElement);
const errorPlace = elementById("kept-error", HTMLElement);

/**
 * @param {(url: string) => string} nameOf the name on the page of the model at a URL
 * @param {(models: KeptModel[]) => void} onShown also called when the list has changed
 */
export async function showKept(nameOf, onShown) {
  const models = await keptModels().catch(() => []);
  panel.hidden = models.length === 0;
  const total = models.reduce((sum, { keptSize }) => sum + keptSize, 0);
  const count = models.length === 1 ? "1 model" : `${models.length} models`;
  summary.textContent = `Kept on this device: ${count}, ${megabytes(total)}`;
  list.replaceChildren(...models.map((model) => item(model, nameOf, () => showKept(nameOf, onShown))));
  onShown(models);
}

/**
 * @param {KeptModel} model
 * @param {(url: string) => string} nameOf
 * @param {() => Promise<void>} showAgain
 */
function item(model, nameOf, showAgain) {
  const name = newElement("span", { class: "name", title: model.url }, nameOf(model.url));
  const about = newElement("span", { class: "hint" }, `${megabytes(model.keptSize)} · ${stateOf(model)}`);
  const button = newElement("button", { type: "button", "aria-label": `Delete ${nameOf(model.url)}` }, "Delete");
  button.addEventListener("click", async () => {
    showError(errorPlace);
    try {
      await deleteKeptModel(model.url);
    } catch (error) {
      showError(errorPlace, error);
    }
    await showAgain();
    (list.querySelector("button") ?? summary).focus();
  });
  return newElement("li", {}, name, about, button);
}

/** @param {KeptModel} model */
function stateOf({ whole, towers, size, verified }) {
  if (whole || towers.length === 2) return verified ? "whole, SHA-256 verified" : "whole";
  const of = size === null ? "" : ` of ${megabytes(size)}`;
  if (towers.length === 1) return `${towers[0] === "text" ? "texts" : "images"} only${of}`;
  return `in part${of}; loading continues from there`;
}
