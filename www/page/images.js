// The images: a thumbnail each, with its state and its error.

import { elementById } from "./elements.js";
import { showError } from "./notice.js";

/** @import { Input } from "../main.js" */

const list = elementById("thumbnails", HTMLUListElement);
const picker = elementById("image-files", HTMLInputElement);
const clearButton = elementById("images-clear", HTMLButtonElement);

export class ImageList {
  /** @type {Thumbnail[]} */
  #thumbnails = [];

  constructor() {
    picker.addEventListener("change", () => {
      this.add(picker.files ?? []);
      picker.value = ""; // so that the same file can be picked again
    });
    clearButton.addEventListener("click", () => {
      for (const thumbnail of [...this.#thumbnails]) this.#remove(thumbnail);
      picker.focus();
    });
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      const thumbnail = new Thumbnail(file, () => {
        const next = this.#thumbnails[this.#thumbnails.indexOf(thumbnail) + 1];
        this.#remove(thumbnail);
        (next?.removeButton ?? picker).focus();
      });
      this.#thumbnails.push(thumbnail);
      list.append(thumbnail.element);
    }
    clearButton.hidden = this.#thumbnails.length < 2;
  }

  /** @returns {Input[]} */
  inputs() {
    return [...this.#thumbnails];
  }

  /** @param {Thumbnail} thumbnail */
  #remove(thumbnail) {
    this.#thumbnails = this.#thumbnails.filter((other) => other !== thumbnail);
    thumbnail.dispose();
    clearButton.hidden = this.#thumbnails.length < 2;
  }
}

/** @implements {Input} */
class Thumbnail {
  #file;
  #url;
  #picture = document.createElement("img");
  #error = document.createElement("div");

  element = document.createElement("li");
  removeButton = document.createElement("button");

  /**
   * @param {File} file
   * @param {() => void} onRemove
   */
  constructor(file, onRemove) {
    this.#file = file;
    this.#url = URL.createObjectURL(file);
    this.label = file.name;

    const frame = document.createElement("div");
    frame.className = "frame";
    this.#picture.alt = "";
    this.#picture.src = this.#url;
    // A format this browser does not show may still be one that the module decodes.
    this.#picture.addEventListener("error", () => {
      frame.dataset.format = file.name.split(".").pop()?.slice(0, 5) ?? "?";
      this.#picture.remove();
    });
    frame.append(this.#picture);

    const name = document.createElement("p");
    name.className = "name";
    name.textContent = file.name;
    name.title = file.name;

    this.removeButton.type = "button";
    this.removeButton.className = "remove";
    this.removeButton.textContent = "×";
    this.removeButton.setAttribute("aria-label", `Remove ${file.name}`);
    this.removeButton.addEventListener("click", onRemove);

    this.element.append(frame, name, this.#error, this.removeButton);
  }

  /**
   * @param {import("../clip.js").ClipEncoder} encoder
   * @param {import("../clip.js").EmbedOptions} options
   */
  embed(encoder, options) {
    return encoder.embedImage([this.#file], options);
  }

  /**
   * @param {"idle" | "busy" | "done" | "failed"} state
   * @param {unknown} [error]
   */
  show(state, error) {
    this.element.className = state;
    showError(this.#error, error);
  }

  dispose() {
    URL.revokeObjectURL(this.#url);
    this.element.remove();
  }
}
