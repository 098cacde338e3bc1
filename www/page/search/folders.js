// The list of folders that are indexed on this device, with buttons that open them again, if the browser can do that,
// or forget them.

import { elementById, newElement } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { pictures } from "./progress.js";

/** @import { FolderCount } from "./database.js" */

/**
 * @typedef {object} Contents
 * @property {FolderCount[]} counts
 * @property {Map<string, FileSystemDirectoryHandle>} closed folders that are not open, but can be opened again
 */

const panel = elementById("search-kept", HTMLDetailsElement);
const summary = elementById("search-kept-summary", HTMLElement);
const reopenNote = elementById("search-reopen", HTMLElement);
const list = elementById("search-folders", HTMLUListElement);
const forgetAllButton = elementById("search-forget", HTMLButtonElement);
const errorPlace = elementById("search-kept-error", HTMLElement);

export class FolderList {
  #actions;

  /**
   * @param {object} actions
   * @param {(folder?: string) => Promise<void>} actions.forget a folder, or all of them
   * @param {(handle: FileSystemDirectoryHandle) => Promise<void>} actions.open
   */
  constructor(actions) {
    this.#actions = actions;
    reopenNote.hidden = "showDirectoryPicker" in window; // it gives handles, which can be stored
    forgetAllButton.addEventListener("click", () => {
      this.#forget("Forget everything that is indexed, for every model? The pictures themselves stay where they are.");
    });
  }

  /** @param {Contents} contents */
  show({ counts, closed }) {
    /** @type {Map<string, FolderCount[]>} */
    const folders = new Map();
    for (const count of counts) folders.set(count.folder, [...(folders.get(count.folder) ?? []), count]);
    panel.hidden = folders.size === 0;
    const most = [...folders.values()].map((models) => Math.max(...models.map(({ count }) => count)));
    const total = most.reduce((sum, count) => sum + count, 0);
    summary.textContent = `Indexed on this device: ${pictures(total)} in ${folders.size === 1 ? "1 folder" : `${folders.size} folders`}`;
    const items = [...folders].map(([folder, models]) => this.#item(folder, models, closed.get(folder)));
    list.replaceChildren(...items);
  }

  /**
   * @param {string} folder
   * @param {FolderCount[]} models
   * @param {FileSystemDirectoryHandle | undefined} handle
   */
  #item(folder, models, handle) {
    const name = folder || "Single pictures";
    const about = models.map(({ count, name }) => `${pictures(count)} for ${name}`).join(", ");
    const item = newElement("li", {}, newElement("span", { class: "name" }, name), newElement("span", { class: "hint" }, about));
    if (handle) {
      item.append(button("Open again", `Open ${folder} again`, () => this.#actions.open(handle)));
    }
    const question = `Forget ${name}, for every model? The pictures themselves stay where they are.`;
    item.append(button("Forget", `Forget ${name}`, () => this.#forget(question, folder)));
    return item;
  }

  /**
   * @param {string} question
   * @param {string} [folder]
   */
  async #forget(question, folder) {
    showError(errorPlace);
    if (!confirm(question)) return;
    try {
      await this.#actions.forget(folder);
    } catch (error) {
      showError(errorPlace, error);
    }
    if (panel.hidden) elementById("search-folder", HTMLElement).focus();
    else summary.focus();
  }
}

/**
 * @param {string} text
 * @param {string} label
 * @param {() => Promise<void>} act
 */
function button(text, label, act) {
  const element = newElement("button", { type: "button", "aria-label": label }, text);
  element.addEventListener("click", () => act());
  return element;
}
