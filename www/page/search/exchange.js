// The buttons that write the index of the model in use to a file, and read one.

import { ClipError } from "../../clip.js";
import { elementById } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { save } from "../shell/save.js";
import { Slices } from "../shell/slices.js";
import { markOf, readIndex, writeIndex } from "./index-file.js";
import { pictures } from "./progress.js";

/** @import { Collection } from "./collection.js" */

const exportButton = elementById("index-export", HTMLButtonElement);
const importInput = elementById("index-import", HTMLInputElement);
const state = elementById("index-state", HTMLElement);
const errorPlace = elementById("search-kept-error", HTMLElement);

/**
 * @param {object} subject
 * @param {() => Promise<Collection>} subject.open
 * @param {() => Promise<void>} subject.onImported
 */
export function offerExchange({ open, onImported }) {
  const act = async (/** @type {() => Promise<string>} */ action) => {
    showError(errorPlace);
    state.textContent = "Working…";
    try {
      state.textContent = await action();
    } catch (error) {
      state.textContent = "";
      showError(errorPlace, error);
    }
  };
  exportButton.addEventListener("click", () => act(async () => exportIndex(await open())));
  importInput.addEventListener("change", () => {
    const file = importInput.files?.[0];
    importInput.value = "";
    if (!file) return;
    act(async () => {
      const said = await importIndex(await open(), file);
      await onImported();
      return said;
    });
  });
}

/** @param {Collection} collection */
async function exportIndex(collection) {
  if (collection.count === 0) throw new ClipError("empty_input", "nothing is indexed for this model yet: drop a folder of pictures first");
  const { entries, vectors } = await collection.contents();
  const { dimension, model } = collection;
  save(`pictures ${model.name.replaceAll(/[^\w.-]+/g, " ")}.npy`, "application/octet-stream", await writeIndex({ model: await markOf(model), dimension, entries, vectors }));
  return `${pictures(entries.length)} exported.`;
}

/**
 * @param {Collection} collection
 * @param {File} file
 */
async function importIndex(collection, file) {
  const { model, dimension, entries, vectors } = await readIndex(new Uint8Array(await file.arrayBuffer()));
  if (entries.length === 0) return "This index is empty.";
  const own = await markOf(collection.model);
  if (model !== own) {
    throw new ClipError("invalid_input", `this index was made with the model “${model}”, but “${own}” is in use: choose that model first`);
  }
  if (dimension !== collection.dimension) {
    throw new ClipError("invalid_input", `this index has vectors of ${dimension} components, and the model's have ${collection.dimension}`);
  }
  const slices = new Slices();
  for (const [row, entry] of entries.entries()) {
    collection.addEntry(entry, vectors.slice(row * dimension, (row + 1) * dimension), null);
    await slices.next();
  }
  await collection.flush();
  return `${pictures(entries.length)} imported. Once their folder is open they are shown; what has not changed is not embedded again.`;
}
