// The result of a search: thumbnails by descending score, and the full picture when one is clicked.

import { elementById, newElement } from "../shell/elements.js";
import { fullPath } from "./folder.js";

/** @import { Collection } from "./collection.js" */
/** @import { Entry } from "./database.js" */
/** @import { Ranking } from "./nearest.js" */

/** Results shown at first, and added by each press of the "Show more" button. */
const PAGE = 48;

const list = elementById("search-hits", HTMLOListElement);
const moreButton = elementById("search-more", HTMLButtonElement);
const dialog = elementById("picture", HTMLDialogElement);
const dialogFrame = elementById("picture-frame", HTMLElement);
const dialogName = elementById("picture-name", HTMLElement);
const dialogAbout = elementById("picture-about", HTMLElement);
const likeButton = elementById("picture-like", HTMLButtonElement);

/**
 * @typedef {object} Sources
 * @property {(entry: Entry) => File | null} fileOf a picture, if its folder has been opened in this visit
 * @property {(entry: Entry, vector: Float32Array) => void} onLike called to search for pictures like this one
 */

export class ResultList {
  #sources;
  /** @type {{ collection: Collection, ranking: Ranking } | null} */
  #found = null;
  #shown = 0;
  /** @type {string[]} URLs of the thumbnails */
  #urls = [];
  /** @type {string | null} the URL of the full picture */
  #fullUrl = null;
  /** @type {() => void} */
  #searchLikeShown = () => {};

  /** @param {Sources} sources */
  constructor(sources) {
    this.#sources = sources;
    moreButton.addEventListener("click", async () => {
      const first = this.#shown;
      await this.#showMore();
      list.children[first]?.querySelector("button")?.focus();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // a click on the backdrop
    });
    dialog.addEventListener("close", () => {
      dialogFrame.replaceChildren();
      if (this.#fullUrl) URL.revokeObjectURL(this.#fullUrl);
      this.#fullUrl = null;
    });
    likeButton.addEventListener("click", () => {
      dialog.close();
      this.#searchLikeShown();
    });
  }

  /**
   * @param {Collection} collection
   * @param {Ranking} ranking
   */
  async show(collection, ranking) {
    this.clear();
    this.#found = { collection, ranking };
    await this.#showMore();
  }

  clear() {
    this.#found = null;
    this.#shown = 0;
    list.replaceChildren();
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
    moreButton.hidden = true;
  }

  async #showMore() {
    const found = this.#found;
    if (!found) return;
    const { collection, ranking } = found;
    const rows = [...ranking.rows.subarray(this.#shown, this.#shown + PAGE)];
    this.#shown += rows.length;
    const hits = rows.map((row) => {
      const entry = collection.entry(row);
      return { entry, vector: collection.vector(row), score: ranking.scores[row] ?? NaN, thumbnail: collection.thumbnail(entry) };
    });
    const left = ranking.rows.length - this.#shown;
    moreButton.hidden = left === 0;
    moreButton.textContent = `Show ${Math.min(left, PAGE)} more`;
    for (const { entry, vector, score, thumbnail } of hits) {
      const bytes = await thumbnail;
      if (found !== this.#found) return;
      list.append(this.#item(entry, vector, score, bytes));
    }
  }

  /**
   * @param {Entry} entry
   * @param {Float32Array} vector
   * @param {number} score
   * @param {ArrayBuffer | null} thumbnail
   */
  #item(entry, vector, score, thumbnail) {
    const name = nameOf(entry);
    let url = "";
    if (thumbnail) this.#urls.push((url = URL.createObjectURL(new Blob([thumbnail], { type: "image/jpeg" }))));

    const about = `${name}, score ${score.toFixed(3)}: open`;
    const open = newElement("button", { type: "button", class: "hit", "aria-label": about }, frame(entry, url));
    open.addEventListener("click", () => this.#open(entry, vector, score, url));

    const label = newElement("p", { class: "name", title: fullPath(entry) }, name);

    const search = `Like this: search by ${name}`;
    const like = newElement("button", { type: "button", class: "quiet", "aria-label": search }, "Like this");
    like.addEventListener("click", () => this.#sources.onLike(entry, vector));

    const number = newElement("span", { class: "score" }, score.toFixed(3));
    return newElement("li", {}, open, label, newElement("div", { class: "hit-line" }, number, like));
  }

  /**
   * @param {Entry} entry
   * @param {Float32Array} vector
   * @param {number} score
   * @param {string} thumbnailUrl
   */
  #open(entry, vector, score, thumbnailUrl) {
    const file = this.#sources.fileOf(entry);
    if (file) this.#fullUrl = URL.createObjectURL(file);
    const small = frame(entry, thumbnailUrl);
    if (this.#fullUrl) {
      const picture = newElement("img", { alt: nameOf(entry), src: this.#fullUrl });
      picture.addEventListener("error", () => dialogFrame.replaceChildren(small));
      dialogFrame.replaceChildren(picture);
    } else {
      dialogFrame.replaceChildren(small);
    }
    dialogName.textContent = fullPath(entry).replace(/^\//, "");
    const parts = [`Score ${score.toFixed(3)}.`];
    if (!file) parts.push("Only its thumbnail is stored: open its folder again to see the full picture.");
    dialogAbout.textContent = parts.join(" ");
    this.#searchLikeShown = () => this.#sources.onLike(entry, vector);
    dialog.showModal();
  }
}

/**
 * A square with the thumbnail, or with the file's format if there is no thumbnail.
 * @param {Entry} entry
 * @param {string} url
 */
function frame(entry, url) {
  if (url) return newElement("span", { class: "frame" }, newElement("img", { alt: "", src: url }));
  return newElement("span", { class: "frame", "data-format": entry.path.split(".").pop()?.slice(0, 5) ?? "?" });
}

/** @param {Entry} entry */
export function nameOf({ path }) {
  return path.split("/").pop() ?? path;
}
