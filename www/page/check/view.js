// The Check view: embeds reference photos and captions on this device, and compares their cosines with published ones.

import { ClipError, errorJson, similarity } from "../../clip.js";
import { download } from "../../lib/shared/download.js";
import { computes } from "../shell/computes.js";
import { elementById, newElement } from "../shell/elements.js";
import { modelName } from "../model/names.js";
import { showError } from "../shell/notice.js";
import { addressOf } from "../shell/resources.js";
import { header, pictureHeader, scrolling } from "../shell/tables.js";

/** @import { ClipEncoder, ModelInfo } from "../../clip.js" */
/** @import { ModelPanel } from "../model/view.js" */

/**
 * Published cosines.
 * @typedef {object} Reference
 * @property {string} of whose cosines these are: a phrase that can follow "the cosines of"
 * @property {string} source
 * @property {string} prefix of each text
 * @property {number} decimals of the published cosines
 * @property {string[]} images paths, or names of files in the same folder
 * @property {string[]} texts
 * @property {number[][]} cosine a row for each text, a column for each image
 * @property {{ float: number, quantised: number }} tolerance by how much a cosine may differ
 * @property {Partial<ModelInfo>} model properties that a model must have to give these cosines
 */

/** @typedef {{ name: string, url: string, own: number, vector: number[] }} Photo `own` is its column in the table */

const PUBLISHED = "check/similarity.openai-vit-b-32.json";
const BUILT_IN = "check/similarity.demo.json";

const startButton = elementById("check-start", HTMLButtonElement);
const stopButton = elementById("check-stop", HTMLButtonElement);
const state = elementById("check-state", HTMLElement);
const errorPlace = elementById("check-error", HTMLElement);
const result = elementById("check-result", HTMLElement);

export class CheckView {
  #model;
  /** @type {AbortController | null} */
  #running = null;

  /** @param {ModelPanel} model */
  constructor(model) {
    this.#model = model;
    startButton.addEventListener("click", () => this.#run());
    stopButton.addEventListener("click", () => this.#running?.abort());
  }

  /** This view takes no dropped files. */
  take() {}

  async #run() {
    if (this.#running) return;
    const { signal } = (this.#running = new AbortController());
    showError(errorPlace);
    result.replaceChildren();
    [startButton.disabled, stopButton.hidden] = [true, false];
    try {
      state.textContent = "Loading the model…";
      const encoder = await this.#model.encoder();
      const path = this.#model.isBuiltIn ? BUILT_IN : PUBLISHED;
      const reference = /** @type {Reference} */ (await (await download(addressOf(path), { signal })).json());
      const begun = performance.now();
      const texts = await embedTexts(encoder, reference, signal);
      const photos = await embedPhotos(encoder, reference, signal);
      const seconds = (performance.now() - begun) / 1000;
      result.replaceChildren(...report(reference, encoder, texts, photos, seconds));
      state.textContent = "";
    } catch (error) {
      state.textContent = "";
      showError(errorPlace, error);
      if (errorJson(error).error.code === "encoder_lost") this.#model.forget();
    } finally {
      this.#running = null;
      [startButton.disabled, stopButton.hidden] = [false, true];
    }
  }
}

/**
 * @param {ClipEncoder} encoder
 * @param {Reference} reference
 * @param {AbortSignal} signal
 */
async function embedTexts(encoder, { prefix, texts }, signal) {
  state.textContent = "Embedding the captions…";
  const { data } = await encoder.embedText(texts.map((text) => prefix + text), { signal });
  return data;
}

/**
 * Leaves out photos that the site does not have.
 * @param {ClipEncoder} encoder
 * @param {Reference} reference
 * @param {AbortSignal} signal
 * @returns {Promise<Photo[]>}
 */
async function embedPhotos(encoder, { images }, signal) {
  /** @type {Photo[]} */
  const photos = [];
  for (const [own, path] of images.entries()) {
    state.textContent = `Embedding picture ${own + 1} of ${images.length}…`;
    const url = addressOf(path.includes("/") ? path : `check/${path}`);
    const picture = await download(url, { signal }).catch((error) => {
      if (error instanceof ClipError && error.code === "http_status") return null;
      throw error;
    });
    if (!picture) continue;
    const { data } = await encoder.embedImage([await picture.blob()], { signal });
    photos.push({ name: path.split("/").pop() ?? path, url, own, vector: /** @type {number[]} */ (data[0]) });
  }
  return photos;
}

/**
 * @param {Reference} reference
 * @param {ClipEncoder} encoder
 * @param {number[][]} texts
 * @param {Photo[]} photos
 * @param {number} seconds
 */
function report(reference, encoder, texts, photos, seconds) {
  const { info } = encoder;
  const quantised = /^q\d/.test(info.type);
  const tolerance = quantised ? reference.tolerance.quantised : reference.tolerance.float;
  const cosines = texts.map((text) => photos.map(({ vector }) => similarity(text, vector)));
  const published = reference.cosine.map((row) => photos.map(({ own }) => row[own] ?? NaN));
  const differences = cosines.map((row, i) => row.map((cosine, j) => Math.abs(cosine - (published[i]?.[j] ?? NaN))));
  const largest = Math.max(...differences.flat());
  const right = photos.filter((_, j) => indexOfLargest(cosines.map((row) => row[j] ?? NaN)) === indexOfLargest(published.map((row) => row[j] ?? NaN)));

  const sentences = [];
  const count = differences.flat().length;
  if (largest <= tolerance) {
    sentences.push(`This device and this file give the cosines of ${reference.of}: of ${count}, none differs by more than ${largest.toFixed(4)} (${tolerance} is allowed for a ${quantised ? "quantised" : "float"} file).`);
  } else {
    const far = differences.flat().filter((difference) => !(difference <= tolerance)).length;
    sentences.push(`These are not the cosines of ${reference.of}: ${far} of ${count} differ by more than ${tolerance}, the farthest by ${largest.toFixed(3)}. ${why(reference, info)}`);
  }
  sentences.push(`The best caption is the same for ${right.length} of ${photos.length} pictures.`);
  const missing = reference.images.length - photos.length;
  if (missing > 0) sentences.push(`${missing} of the published ${reference.images.length} pictures are not on this site: their licence is not clear.`);
  const about = `${modelName(info)} · ${computes(encoder)} · ${seconds.toFixed(1)} s. Published: ${reference.source}.`;
  const verdict = newElement("p", { class: largest <= tolerance ? "note" : "note differs" }, sentences.join(" "));
  verdict.setAttribute("role", "status");
  return [verdict, table(reference, photos, cosines, published, tolerance), newElement("p", { class: "about" }, about)];
}

/**
 * Why the cosines may differ, as far as the model's configuration shows.
 * @param {Reference} reference
 * @param {ModelInfo} info
 */
function why({ model }, info) {
  const keys = /** @type {(keyof ModelInfo)[]} */ (Object.keys(model));
  const other = keys.filter((key) => info[key] !== model[key]).map((key) => `${NAMES[key] ?? String(key)} ${info[key]} instead of ${model[key]}`);
  if (other.length > 0) return `It is another model (${other.join(", ")}), which has a table of its own.`;
  return "It has the same architecture, so these are other weights, or the file is damaged or wrongly converted.";
}

/** @type {Partial<Record<keyof ModelInfo, string>>} */
const NAMES = { embeddingDimension: "dimensions", imageSize: "image size", patchSize: "patch size", activation: "activation" };

/**
 * @param {Reference} reference
 * @param {Photo[]} photos
 * @param {number[][]} cosines
 * @param {number[][]} published
 * @param {number} tolerance
 */
function table({ texts, decimals }, photos, cosines, published, tolerance) {
  const element = newElement("table", {});
  const caption = element.createCaption();
  caption.textContent = "Cosine here, and as published";
  const head = element.createTHead().insertRow();
  head.append(header("col", "Caption"), ...photos.map(({ name, url }) => pictureHeader(name, url)));
  const body = element.createTBody();
  for (const [i, text] of texts.entries()) {
    const row = body.insertRow();
    row.append(header("row", text));
    for (const j of photos.keys()) row.append(cell(cosines[i]?.[j] ?? NaN, published[i]?.[j] ?? NaN, tolerance, decimals));
  }
  return scrolling(element, "Table of cosines");
}

/**
 * @param {number} cosine
 * @param {number} published
 * @param {number} tolerance
 * @param {number} decimals of the published cosine
 */
function cell(cosine, published, tolerance, decimals) {
  const wrong = !(Math.abs(cosine - published) <= tolerance);
  const here = newElement(wrong ? "strong" : "span", {}, cosine.toFixed(3));
  const there = newElement("span", { class: "cosine" }, published.toFixed(decimals));
  return newElement("td", wrong ? { class: "differs" } : {}, here, " ", there);
}

/** @param {number[]} values */
function indexOfLargest(values) {
  return values.indexOf(Math.max(...values));
}
