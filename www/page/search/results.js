// The result of a search as a grid of thumbnails, by descending score or by groups; the full picture when one is clicked.

import { elementById, newElement } from "../shell/elements.js";
import { csvLine } from "../shell/csv.js";
import { save } from "../shell/save.js";
import { fullPath } from "./folder.js";
import { Grid } from "./grid.js";
import { nameOf, PictureDialog, squareOf } from "./picture.js";
import { makeThumbnail, thumbnailUrl } from "./thumbnail.js";

/** @import { Collection } from "./collection.js" */
/** @import { Entry } from "./database.js" */
/** @import { Item, Section } from "./grid.js" */

/** How much of the window may be above the result, as a share of its height. */
const MOST_ABOVE = 0.8;

const list = elementById("search-hits", HTMLOListElement);
const tools = elementById("result-tools", HTMLElement);
const exportButton = elementById("result-export", HTMLButtonElement);

/**
 * Found pictures, in the order in which they are shown.
 * @typedef {object} Found
 * @property {Collection} collection
 * @property {Uint32Array} rows of the collection
 * @property {(place: number) => number} scoreAt
 * @property {Section[]} sections
 */

/**
 * @typedef {object} Sources
 * @property {(entry: Entry) => File | null} fileOf a picture, if its folder has been opened in this visit
 * @property {(entry: Entry) => void} onLike called to search for pictures like this one
 */

export class ResultList {
  #sources;
  #grid = new Grid(list, (place) => this.#item(place));
  #dialog = new PictureDialog({
    at: (place) => {
      const entry = this.#entryAt(place);
      return { entry, score: this.#scoreAt(place), file: this.#sources.fileOf(entry), thumbnail: this.#thumbnailOf(entry) };
    },
    onLike: (place) => this.#like(place),
    onClose: (place) => this.#found && this.#grid.focus(place),
  });
  /** @type {Found | null} */
  #found = null;

  /** @param {Sources} sources */
  constructor(sources) {
    this.#sources = sources;
    exportButton.addEventListener("click", () => this.#export());
  }

  /** @param {Found} found */
  show(found) {
    this.#dialog.dismiss(); // its picture is of the result before
    this.#found = found;
    tools.hidden = found.rows.length === 0;
    this.#grid.show(found.sections);
  }

  get isEmpty() {
    return this.#found === null;
  }

  /** Scrolls to the result if it is out of sight, as on a phone. @param {HTMLElement} summary above it */
  reveal(summary) {
    if (this.#found && list.getBoundingClientRect().top > MOST_ABOVE * innerHeight) summary.scrollIntoView({ block: "start" });
  }

  clear() {
    this.#dialog.dismiss();
    this.#found = null;
    tools.hidden = true;
    this.#grid.clear();
  }

  /** @param {number} place */
  #entryAt(place) {
    const { collection, rows } = /** @type {Found} */ (this.#found);
    return collection.entry(/** @type {number} */ (rows[place]));
  }

  /** @param {number} place */
  #scoreAt(place) {
    return /** @type {Found} */ (this.#found).scoreAt(place);
  }

  /** @param {number} place */
  #like(place) {
    this.#sources.onLike(this.#entryAt(place));
  }

  /**
   * The stored one, or, of a picture that came with an index, one made of its file.
   * @param {Entry} entry
   * @returns {Promise<ArrayBuffer | null>} a JPEG file
   */
  async #thumbnailOf(entry) {
    const stored = await this.#found?.collection.thumbnail(entry);
    const file = stored ? null : this.#sources.fileOf(entry);
    return stored ?? (file ? makeThumbnail(file) : null);
  }

  /** @param {number} place @returns {Item} */
  #item(place) {
    const entry = this.#entryAt(place);
    const score = this.#scoreAt(place).toFixed(3);
    const name = nameOf(entry);
    const open = newElement("button", { type: "button", class: "hit", "aria-label": `${name}, score ${score}: open` }, squareOf(entry, null));
    open.addEventListener("click", () => this.#dialog.open(place, this.#found?.rows.length ?? 0));
    const label = newElement("p", { class: "name", title: fullPath(entry) }, name);
    const like = newElement("button", { type: "button", class: "quiet", "aria-label": `Like this: search by ${name}` }, "Like this");
    like.addEventListener("click", () => this.#like(place));
    const number = newElement("span", { class: "score" }, score);
    const element = newElement("li", {}, open, label, newElement("div", { class: "hit-line" }, number, like));
    this.#thumbnailOf(entry).then((bytes) => {
      if (bytes && element.isConnected) open.replaceChildren(squareOf(entry, thumbnailUrl(bytes)));
    });
    return { element, open };
  }

  /** Names and scores of all found pictures. */
  #export() {
    const found = this.#found;
    if (!found) return;
    const isGrouped = found.sections.length > 1 || found.sections[0]?.title !== "";
    const lines = [csvLine(isGrouped ? ["picture", "score", "group"] : ["picture", "score"])];
    for (const [index, { first, count }] of found.sections.entries()) {
      for (let place = first; place < first + count; place++) {
        const path = fullPath(this.#entryAt(place)).replace(/^\//, "");
        lines.push(csvLine([path, found.scoreAt(place), ...(isGrouped ? [index + 1] : [])]));
      }
    }
    save("pictures.csv", "text/csv", lines);
  }
}
