// A found picture in full, with those beside it one key away.

import { elementById, newElement } from "../shell/elements.js";
import { copyText } from "../shell/copy.js";
import { formatOf } from "../shell/frame.js";
import { fullPath } from "./folder.js";
import { thumbnailUrl } from "./thumbnail.js";

/** @import { Entry } from "./database.js" */

const dialog = elementById("picture", HTMLDialogElement);
const frame = elementById("picture-frame", HTMLElement);
const name = elementById("picture-name", HTMLElement);
const about = elementById("picture-about", HTMLElement);
const likeButton = elementById("picture-like", HTMLButtonElement);
const copyButton = elementById("picture-copy", HTMLButtonElement);
const backButton = elementById("picture-back", HTMLButtonElement);
const nextButton = elementById("picture-next", HTMLButtonElement);

/**
 * @typedef {object} Shown
 * @property {Entry} entry
 * @property {number} score
 * @property {File | null} file if its folder has been opened in this visit
 * @property {Promise<ArrayBuffer | null>} thumbnail a JPEG file
 */

export class PictureDialog {
  #pictures;
  #index = 0;
  #count = 0;
  #isDismissed = false;
  /** Of the file that is shown. */
  #url = "";

  /**
   * @param {object} pictures
   * @param {(index: number) => Shown} pictures.at
   * @param {(index: number) => void} pictures.onLike
   * @param {(index: number) => void} pictures.onClose with the picture that was shown last
   */
  constructor(pictures) {
    this.#pictures = pictures;
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // a click on the backdrop
    });
    dialog.addEventListener("close", () => {
      this.#empty();
      if (!this.#isDismissed) this.#pictures.onClose(this.#index);
    });
    dialog.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this.#step(-1);
      if (key === "ArrowRight") this.#step(1);
    });
    backButton.addEventListener("click", () => this.#step(-1));
    nextButton.addEventListener("click", () => this.#step(1));
    copyButton.addEventListener("click", () => copyText(copyButton, nameOf(this.#pictures.at(this.#index).entry)));
    likeButton.addEventListener("click", () => {
      dialog.close();
      this.#pictures.onLike(this.#index);
    });
  }

  /**
   * @param {number} index
   * @param {number} count of pictures
   */
  open(index, count) {
    this.#count = count;
    this.#isDismissed = false;
    this.#show(index);
    dialog.showModal();
  }

  /** Closes it, because its pictures are gone. */
  dismiss() {
    this.#isDismissed = true;
    dialog.close();
  }

  /** @param {number} step */
  #step(step) {
    const index = this.#index + step;
    if (index >= 0 && index < this.#count) this.#show(index);
  }

  /** @param {number} index */
  async #show(index) {
    this.#index = index;
    this.#empty();
    const { entry, score, file, thumbnail } = this.#pictures.at(index);
    name.textContent = fullPath(entry).replace(/^\//, "");
    const parts = [`Score ${score.toFixed(3)}, ${index + 1} of ${this.#count.toLocaleString("en")}.`];
    if (!file) parts.push("Only its thumbnail is stored: open its folder again to see the full picture.");
    about.textContent = parts.join(" ");
    backButton.disabled = index === 0;
    nextButton.disabled = index === this.#count - 1;
    // A button that can no longer be pressed would take the focus with it.
    if (document.activeElement === backButton && backButton.disabled) nextButton.focus();
    if (document.activeElement === nextButton && nextButton.disabled) backButton.focus();
    if (file) {
      this.#url = URL.createObjectURL(file);
      const picture = newElement("img", { alt: nameOf(entry), src: this.#url });
      picture.addEventListener("error", () => this.#showThumbnail(index, entry, thumbnail));
      frame.replaceChildren(picture);
    } else {
      await this.#showThumbnail(index, entry, thumbnail);
    }
  }

  /**
   * @param {number} index
   * @param {Entry} entry
   * @param {Promise<ArrayBuffer | null>} thumbnail
   */
  async #showThumbnail(index, entry, thumbnail) {
    const bytes = await thumbnail;
    if (index !== this.#index) return;
    frame.replaceChildren(squareOf(entry, bytes && thumbnailUrl(bytes)));
  }

  #empty() {
    frame.replaceChildren();
    URL.revokeObjectURL(this.#url);
    this.#url = "";
  }
}

/**
 * A square with the thumbnail, or with the file's format if there is none.
 * @param {Entry} entry
 * @param {string | null} url
 */
export function squareOf(entry, url) {
  if (url) return newElement("span", { class: "frame" }, newElement("img", { alt: "", src: url }));
  return newElement("span", { class: "frame", "data-format": formatOf(entry.path) });
}

/** @param {Entry} entry */
export function nameOf({ path }) {
  return path.split("/").pop() ?? path;
}
