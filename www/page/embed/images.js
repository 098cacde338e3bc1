// The list of images: a thumbnail for each, with its state and its error.

import { elementById, newElement } from "../shell/elements.js";
import { framed } from "../shell/frame.js";
import { showError } from "../shell/notice.js";

/** @import { Input } from "./input.js" */

/** @typedef {"sample" | "drawing"} Slot a place for one of the page's own pictures; the next one replaces it */

const list = elementById("thumbnails", HTMLUListElement);
const picker = elementById("image-files", HTMLInputElement);
const camera = elementById("image-camera", HTMLInputElement);
const clearButton = elementById("images-clear", HTMLButtonElement);

export class ImageList {
  /** @type {Thumbnail[]} */
  #thumbnails = [];
  #onAdd;
  #onRemove;

  /**
   * @param {object} listeners
   * @param {() => void} listeners.onAdd when the user adds pictures
   * @param {(slot: Slot | null) => void} listeners.onRemove when the user removes one
   */
  constructor({ onAdd, onRemove }) {
    this.#onAdd = onAdd;
    this.#onRemove = onRemove;
    for (const input of [picker, camera]) {
      input.addEventListener("change", () => {
        this.add(input.files ?? []);
        input.value = ""; // so that the same file can be picked again
      });
    }
    clearButton.addEventListener("click", () => {
      for (const thumbnail of [...this.#thumbnails]) this.#removeByUser(thumbnail);
      picker.focus();
    });
  }

  /** @param {Iterable<File>} files the user's own */
  add(files) {
    for (const file of files) this.#add(file, null);
    this.#onAdd();
  }

  /**
   * @param {Slot} slot
   * @param {File | null} file that replaces the picture in the slot; `null` empties the slot
   */
  put(slot, file) {
    const held = this.#thumbnails.find((thumbnail) => thumbnail.slot === slot);
    if (file) {
      const added = this.#add(file, slot);
      if (held) this.#moveTo(added, held);
    }
    if (held) this.#remove(held);
  }

  /**
   * @param {File} file
   * @param {Slot | null} slot
   */
  #add(file, slot) {
    const thumbnail = new Thumbnail(file, slot, () => {
      const next = this.#thumbnails[this.#thumbnails.indexOf(thumbnail) + 1];
      this.#removeByUser(thumbnail);
      (next?.removeButton ?? picker).focus();
    });
    this.#thumbnails.push(thumbnail);
    list.append(thumbnail.element);
    clearButton.hidden = this.#thumbnails.length < 2;
    return thumbnail;
  }

  /**
   * @param {Thumbnail} thumbnail the last of the list
   * @param {Thumbnail} before
   */
  #moveTo(thumbnail, before) {
    this.#thumbnails.pop();
    this.#thumbnails.splice(this.#thumbnails.indexOf(before), 0, thumbnail);
    before.element.before(thumbnail.element);
  }

  /** @param {Thumbnail} thumbnail */
  #removeByUser(thumbnail) {
    this.#remove(thumbnail);
    this.#onRemove(thumbnail.slot);
  }

  /** Whether there are pictures of the user's own. */
  get hasOwn() {
    return this.#thumbnails.some(({ slot }) => slot !== "sample");
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
  #error = newElement("div", {});

  /** @type {"image"} */
  kind = "image";
  isRemoved = false;

  /**
   * @param {File} file
   * @param {Slot | null} slot
   * @param {() => void} onRemove
   */
  constructor(file, slot, onRemove) {
    this.#file = file;
    this.slot = slot;
    this.picture = URL.createObjectURL(file);
    this.source = file.name;

    const frame = framed(this.picture, file.name);
    const name = newElement("p", { class: "name", title: file.name }, file.name);

    this.removeButton = newElement("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}` }, "×");
    this.removeButton.addEventListener("click", onRemove);

    this.element = newElement("li", {}, frame, name, this.#error, this.removeButton);
  }

  /**
   * @param {import("../../clip.js").ClipEncoder} encoder
   * @param {Parameters<Input["embed"]>[1]} options
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
    this.isRemoved = true;
    URL.revokeObjectURL(this.picture);
    this.element.remove();
  }
}
