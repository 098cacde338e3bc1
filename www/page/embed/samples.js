// The sample pictures: one click adds a picture and captions to choose from.

import { download } from "../../lib/shared/download.js";
import { elementById, newElement } from "../shell/elements.js";
import { addressOf } from "../shell/resources.js";

/**
 * @typedef {object} Sample an entry of samples.json
 * @property {string} image path, relative to the page
 * @property {string[]} captions, one of which is right
 */
/** @typedef {{ samples: Sample[], drawing: string[] }} SampleFile `drawing`: captions for the user's drawing */
/** @typedef {{ file: File, captions: string[] }} Example */
/** @typedef {{ name: string, url: string }} SamplePicture */

const section = elementById("samples", HTMLElement);
const list = elementById("sample-list", HTMLUListElement);

export class SampleStrip {
  /** @type {(example: Example, isAsked: boolean) => void} */
  #onChoose;
  /** @type {string[]} captions for a drawing */
  drawingCaptions = [];
  /** @type {SamplePicture[]} */
  pictures = [];
  /** How many samples have been chosen, and which of them is shown. */
  #choices = 0;
  #shown = 0;

  /** @param {(example: Example, isAsked: boolean) => void} onChoose */
  constructor(onChoose) {
    this.#onChoose = onChoose;
  }

  /**
   * Shows the samples, and chooses the first. If they are missing, the rest of the page still works.
   * @returns {Promise<void>}
   */
  async open() {
    /** @type {SampleFile} */
    let file;
    try {
      file = await (await download(addressOf("samples.json"))).json();
    } catch {
      section.hidden = true;
      return;
    }
    this.drawingCaptions = file.drawing;
    this.pictures = file.samples.map((sample) => ({ name: nameOf(sample), url: addressOf(sample.image) }));
    list.replaceChildren(...file.samples.map((sample) => this.#button(sample)));
    section.hidden = file.samples.length === 0;
    section.classList.remove("absent");
    if (file.samples[0]) await this.#choose(file.samples[0], false).catch(() => {});
  }

  /**
   * @param {Sample} sample
   * @returns {HTMLLIElement}
   */
  #button(sample) {
    const picture = newElement("img", { src: addressOf(sample.image), alt: "", width: 56, height: 56 });
    const button = newElement("button", { type: "button", "aria-label": `Sample ${nameOf(sample)}` }, picture);
    button.addEventListener("click", () => this.#choose(sample, true).catch(() => {}));
    return newElement("li", {}, button);
  }

  /**
   * @param {Sample} sample
   * @param {boolean} isAsked whether the user has clicked it
   */
  async #choose(sample, isAsked) {
    const choice = ++this.#choices;
    const response = await download(addressOf(sample.image));
    const blob = await response.blob();
    const file = new File([blob], nameOf(sample), { type: blob.type });
    if (choice < this.#shown) return; // one that was chosen later has arrived before
    this.#shown = choice;
    this.#onChoose({ file, captions: sample.captions }, isAsked);
  }
}

/** @param {Sample} sample */
function nameOf({ image }) {
  return image.split("/").pop() ?? image;
}
