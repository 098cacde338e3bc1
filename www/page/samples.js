// The sample pictures: one click fills in a picture and captions to tell apart.

import { download } from "../download.js";
import { elementById } from "./elements.js";

/**
 * @typedef {object} Sample an entry of samples.json
 * @property {string} image relative to samples.json
 * @property {string[]} captions of which one is right
 */
/** @typedef {{ samples: Sample[], drawing: string[] }} SampleFile `drawing`: captions for what the user draws */
/** @typedef {{ file: File, captions: string[] }} Example */

const SAMPLES_URL = new URL("../samples.json", import.meta.url);

const section = elementById("samples", HTMLElement);
const list = elementById("sample-list", HTMLUListElement);

export class SampleStrip {
  /** @type {(example: Example) => void} */
  #onChoose;
  /** @type {string[]} captions for a drawing */
  drawingCaptions = [];

  /** @param {(example: Example) => void} onChoose */
  constructor(onChoose) {
    this.#onChoose = onChoose;
  }

  /**
   * Shows the samples, and chooses the first. A page without them works all the same.
   * @returns {Promise<void>}
   */
  async open() {
    /** @type {SampleFile} */
    let file;
    try {
      file = await (await download(SAMPLES_URL.href)).json();
    } catch {
      section.hidden = true;
      return;
    }
    this.drawingCaptions = file.drawing;
    list.replaceChildren(...file.samples.map((sample) => this.#button(sample)));
    section.hidden = file.samples.length === 0;
    section.classList.remove("absent");
    if (file.samples[0]) await this.#choose(file.samples[0]).catch(() => {});
  }

  /**
   * @param {Sample} sample
   * @returns {HTMLLIElement}
   */
  #button(sample) {
    const picture = document.createElement("img");
    picture.src = new URL(sample.image, SAMPLES_URL).href;
    picture.alt = "";
    picture.width = picture.height = 56;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Sample ${nameOf(sample)}`);
    button.append(picture);
    button.addEventListener("click", () => this.#choose(sample).catch(() => {}));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  /** @param {Sample} sample */
  async #choose(sample) {
    const response = await download(new URL(sample.image, SAMPLES_URL).href);
    const blob = await response.blob();
    const file = new File([blob], nameOf(sample), { type: blob.type });
    this.#onChoose({ file, captions: sample.captions });
  }
}

/** @param {Sample} sample */
function nameOf({ image }) {
  return image.split("/").pop() ?? image;
}
