// The result: the endpoint's JSON. Long vectors are folded on the page, and complete when copied or downloaded.

import { computes } from "../shell/computes.js";
import { copyText } from "../shell/copy.js";
import { elementById, newElement } from "../shell/elements.js";
import { FORMATS, json as writeJson, numbers } from "./exports.js";
import { label } from "./input.js";
import { modelName } from "../model/names.js";
import { hideRelations, showRelations } from "./relations.js";
import { save } from "../shell/save.js";
import { strip } from "./strip.js";
import { showTimeline } from "./timeline.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Embedded } from "./input.js" */
/** @import { SamplePicture } from "./samples.js" */

const HEAD = 3;
const TAIL = 1;
/** No strips beyond this number of vectors: they would take too long to paint. */
const MOST_STRIPS = 200;

const heading = elementById("result-heading", HTMLElement);
const summary = elementById("result-summary", HTMLElement);
const note = elementById("result-note", HTMLElement);
const timeline = elementById("timeline", HTMLDetailsElement);
const timelineName = elementById("timeline-name", HTMLElement);
const timelinePlace = elementById("timeline-place", HTMLElement);
const legend = elementById("legend", HTMLOListElement);
const json = elementById("json", HTMLPreElement);
const buttons = elementById("result-buttons", HTMLElement);
const copyButton = elementById("copy", HTMLButtonElement);
const downloadButton = elementById("download", HTMLButtonElement);
const formatMenu = elementById("format", HTMLSelectElement);

export class ResultPanel {
  /** The text that the Copy button copies. */
  #whole = "";
  /** @type {Embedded[]} */
  #embedded = [];

  constructor() {
    for (const { name, extension } of FORMATS) formatMenu.add(new Option(`${name} (.${extension})`, extension));
    json.addEventListener("copy", copyUnfolded);
    copyButton.addEventListener("click", () => {
      // Copied by selection it is the whole text too.
      copyText(copyButton, this.#whole, () => getSelection()?.selectAllChildren(json));
    });
    downloadButton.addEventListener("click", () => this.#download());
  }

  /**
   * @param {Embedded[]} embedded
   * @param {ClipEncoder} encoder
   * @param {object} about
   * @param {number} about.failures inputs that have no vector
   * @param {string} about.stopped how far the run came that the user has stopped; empty if it came to its end
   * @param {string} about.caution what this model does not know, if the result needs that warning; otherwise empty
   * @param {SamplePicture[]} about.samples the page's own, to compare a picture with
   */
  show(embedded, encoder, { failures, stopped, caution, samples }) {
    summary.textContent = [stopped, summarise(embedded, encoder, failures)].filter(Boolean).join(" · ");
    note.textContent = caution;
    note.hidden = caution === "";
    showRelations(embedded, samples, encoder);
    legend.replaceChildren(...embedded.map((one, index) => legendItem(one, index < MOST_STRIPS)));
    legend.hidden = false;
    this.#showTimeline(embedded.at(-1), encoder);
    const vectors = embedded.map(({ vector }) => vector);
    this.#embedded = embedded;
    this.#whole = writeJson(embedded);
    json.replaceChildren('{"data": [\n', ...vectors.map(foldedVector), '], "status_code": 200}\n');
    this.#showButtons();
  }

  /**
   * @param {{ error: { code: string, message: string }, status_code: number }} error as the endpoint returns it
   */
  showError(error) {
    summary.textContent = "No input could be embedded.";
    note.hidden = legend.hidden = timeline.hidden = true;
    hideRelations();
    this.#embedded = [];
    this.#whole = `${JSON.stringify(error, null, 2)}\n`;
    json.replaceChildren(this.#whole);
    this.#showButtons();
  }

  /**
   * @param {Embedded | undefined} input the last one: its time is not that of anything's first run
   * @param {ClipEncoder} encoder
   */
  #showTimeline(input, encoder) {
    timeline.hidden = !input?.timings;
    if (!input?.timings) return;
    timelineName.textContent = label(input);
    showTimeline(timelinePlace, input.timings, encoder);
  }

  #showButtons() {
    json.hidden = buttons.hidden = false;
    copyButton.disabled = false;
    downloadButton.disabled = formatMenu.disabled = this.#embedded.length === 0;
  }

  /** Scrolls to the result: on a narrow screen it is below the fold. */
  reveal() {
    heading.scrollIntoView({ block: "nearest" });
  }

  #download() {
    const format = FORMATS[formatMenu.selectedIndex];
    if (!format) return;
    const { extension, type, write } = format;
    save(`embeddings.${extension}`, type, [write(this.#embedded)]);
  }
}

/**
 * One line of the JSON. The middle of a long vector is a button that unfolds it.
 * @param {number[]} vector
 * @param {number} index
 * @param {number[][]} vectors
 * @returns {Element}
 */
function foldedVector(vector, index, vectors) {
  const end = index < vectors.length - 1 ? "],\n" : "]\n";
  const hidden = vector.slice(HEAD, -TAIL);
  if (hidden.length === 0) return newElement("span", { class: "vector" }, `  [${numbers(vector)}${end}`);
  const about = `Show ${hidden.length} more components of vector ${index}`;
  const attributes = { type: "button", class: "fold", "data-numbers": numbers(hidden), "aria-label": about };
  const fold = newElement("button", attributes, `… ${hidden.length} more …`);
  fold.addEventListener("click", () => {
    fold.replaceWith(numbers(hidden));
    json.focus();
  });
  const [head, tail] = [numbers(vector.slice(0, HEAD)), numbers(vector.slice(-TAIL))];
  return newElement("span", { class: "vector" }, `  [${head}, `, fold, `, ${tail}${end}`);
}

/**
 * Copies a selection with its folded parts complete.
 * @param {ClipboardEvent} event
 */
function copyUnfolded(event) {
  const selection = getSelection();
  if (!selection?.rangeCount || !event.clipboardData) return;
  const selected = selection.getRangeAt(0).cloneContents();
  for (const fold of /** @type {NodeListOf<HTMLElement>} */ (selected.querySelectorAll(".fold"))) {
    fold.replaceWith(fold.dataset.numbers ?? "");
  }
  event.clipboardData.setData("text/plain", selected.textContent ?? "");
  event.preventDefault();
}

/**
 * An item of the legend: the input, its vector as a strip, the norm and the time.
 * @param {Embedded} embedded
 * @param {boolean} drawn
 * @returns {HTMLLIElement}
 */
function legendItem(embedded, drawn) {
  const { vector, milliseconds } = embedded;
  const name = newElement("span", { class: "name", title: label(embedded) }, label(embedded));
  const norm = newElement("span", { class: "norm" }, `norm ${Math.hypot(...vector).toFixed(3)}`);
  const time = newElement("span", { class: "time" }, duration(milliseconds));
  return newElement("li", {}, name, ...(drawn ? [strip(vector)] : []), norm, time);
}

/**
 * @param {Embedded[]} embedded
 * @param {ClipEncoder} encoder
 * @param {number} failures
 * @returns {string}
 */
function summarise(embedded, encoder, failures) {
  const { info } = encoder;
  const total = embedded.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const parts = [
    modelName(info),
    `${info.embeddingDimension} dimensions`,
    `${duration(total / embedded.length)} per input on ${computes(encoder)}`,
  ];
  if (failures) parts.push(`${failures} failed and ${failures === 1 ? "is" : "are"} left out`);
  return parts.join(" · ");
}

/** @param {number} milliseconds */
function duration(milliseconds) {
  return milliseconds < 10 ? `${milliseconds.toFixed(1)} ms` : `${Math.round(milliseconds)} ms`;
}
