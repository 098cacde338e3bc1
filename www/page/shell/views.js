// The views of the page. The URL's fragment names the one that is shown. A view is made when it is first opened.

import { ClipError } from "../../clip.js";
import { elementById } from "./elements.js";
import { showError } from "./notice.js";

/**
 * @typedef {object} View
 * @property {(files: File[], transfer: DataTransfer) => void} [take] takes files that are dropped or pasted while the
 *   view is shown; folders are only in `transfer`
 */

/** The view of a URL without a fragment. */
const FIRST = "embed";

const links = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".views a"));
const errorPlace = elementById("view-error", HTMLElement);
const sections = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".view"));

export class Views {
  #makers;
  /** @type {Map<string, Promise<View>>} */
  #made = new Map();
  #name = FIRST;
  /** @type {View | null} the view that is shown; while another is being made, still the one before; `null` if
   *   one could not be opened */
  current = null;

  /** @param {Record<string, () => View | Promise<View>>} makers by the views' names */
  constructor(makers) {
    this.#makers = makers;
    addEventListener("hashchange", () => this.#show());
    this.#show();
  }

  async #show() {
    const asked = location.hash.replace(/^#\//, "");
    const name = asked in this.#makers ? asked : FIRST;
    this.#name = name;
    for (const link of links) {
      if (link.hash === `#/${name === FIRST ? "" : name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    let failure;
    try {
      const view = await this.#view(name);
      if (name !== this.#name) return;
      this.current = view;
    } catch (cause) {
      if (name !== this.#name) return;
      this.current = null;
      failure = new ClipError("view_failed", `this view cannot be opened (${cause}); choose it again when its files are there`, { cause });
    }
    showError(errorPlace, failure);
    // Not before its script has loaded: until then the user's actions in it would be lost.
    for (const section of sections) section.hidden = failure !== undefined || section.id !== `view-${name}`;
  }

  /** @param {string} name */
  #view(name) {
    let view = this.#made.get(name);
    if (!view) {
      view = Promise.resolve(/** @type {() => View | Promise<View>} */ (this.#makers[name])());
      this.#made.set(name, view);
      view.catch(() => this.#made.delete(name)); // if its script did not load, the next opening fetches it again
    }
    return view;
  }
}
