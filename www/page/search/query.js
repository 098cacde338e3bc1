// The search form: searches the indexed pictures by words, by a picture, by both, and without something; finds pictures
// that are nearly the same; and describes the result.

import { ClipError, errorJson } from "../../clip.js";
import { knowsEnglishOnly, languageWarning } from "../model/names.js";
import { elementById } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { nameOf } from "./picture.js";
import { pictures } from "./progress.js";
import { ResultList } from "./results.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Collection } from "./collection.js" */
/** @import { Entry } from "./database.js" */
/** @import { Terms } from "./matrix.js" */

const form = elementById("search-form", HTMLFormElement);
const textField = elementById("search-text", HTMLInputElement);
const lessField = elementById("search-less", HTMLInputElement);
const pictureInput = elementById("search-picture", HTMLInputElement);
const likeChip = elementById("search-like", HTMLElement);
const likeName = elementById("search-like-name", HTMLElement);
const likeRemove = elementById("search-like-remove", HTMLButtonElement);
const duplicatesButton = elementById("search-duplicates", HTMLButtonElement);
const likenessMenu = elementById("search-likeness", HTMLSelectElement);
const summary = elementById("search-summary", HTMLElement);
const stopButton = elementById("search-stop", HTMLButtonElement);
const errorPlace = elementById("query-error", HTMLElement);

/**
 * What is searched.
 * @typedef {object} Subject
 * @property {() => Promise<{ encoder: ClipEncoder, collection: Collection }>} open loads the model if necessary
 * @property {() => void} onEncoderLost
 * @property {(entry: Entry) => File | null} fileOf a picture, if its folder has been opened in this visit
 */

/**
 * The picture that is searched by.
 * @typedef {object} Like
 * @property {string} name
 * @property {(encoder: ClipEncoder, collection: Collection) => Promise<ArrayLike<number> | undefined>} vector
 */

export class Query {
  #subject;
  #results;
  /** @type {Like | null} */
  #like = null;
  /** @type {AbortController | null} of the search that goes on; only the result of the last one is shown */
  #running = null;
  /** Whether that search has its pictures: before, those of another model may take the place of what is shown. */
  #hasBegun = false;

  /** @param {Subject} subject */
  constructor(subject) {
    this.#subject = subject;
    this.#results = new ResultList({
      fileOf: subject.fileOf,
      onLike: async (entry) => {
        textField.value = lessField.value = "";
        const vector = async (/** @type {ClipEncoder} */ _, /** @type {Collection} */ collection) => {
          const vector = await collection.vectorOf(entry);
          if (vector) return vector;
          throw new ClipError("empty_input", `${nameOf(entry)} is not indexed for this model: open its folder, and index it`);
        };
        this.#setLike({ name: nameOf(entry), vector });
        await this.#search();
        summary.focus(); // the button that was pressed is gone
      },
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search();
    });
    pictureInput.addEventListener("change", () => {
      const file = pictureInput.files?.[0];
      if (file) this.searchPicture(file);
      pictureInput.value = ""; // so that the same file can be chosen again
    });
    likeRemove.addEventListener("click", () => {
      this.#setLike(null);
      textField.focus();
      if (textField.value.trim() || lessField.value.trim()) this.#search();
    });
    duplicatesButton.addEventListener("click", () => this.#findDuplicates());
    stopButton.addEventListener("click", () => this.#running?.abort());
  }

  /** Searches by a picture, and by the words that have been typed. @param {File} file */
  async searchPicture(file) {
    this.#setLike({ name: file.name, vector: async (encoder) => (await encoder.embedImage([file])).data[0] });
    await this.#search();
  }

  /** Removes the result, because its pictures are no longer indexed. */
  clear() {
    if (this.#hasBegun) {
      this.#running?.abort();
      this.#running = null;
      stopButton.hidden = true;
    }
    this.#results.clear();
    showError(errorPlace);
    summary.textContent = "";
  }

  /** @param {Like | null} like */
  #setLike(like) {
    this.#like = like;
    likeChip.hidden = like === null;
    likeName.textContent = like ? `Like ${like.name}` : "";
    likeRemove.setAttribute("aria-label", like ? `Do not search by ${like.name}` : "");
  }

  async #search() {
    const [text, less, like] = [textField.value.trim(), lessField.value.trim(), this.#like];
    await this.#run("Searching…", async (encoder, collection, signal) => {
      if (!text && !less && !like) throw new ClipError("empty_input", "type what to look for, or choose a picture to search by");
      const [wanted, unwanted] = [text, less].map((words) => (words ? encoder.embedText([words]).then(({ data }) => data[0]) : undefined));
      const vectors = await Promise.all([wanted, like?.vector(encoder, collection), unwanted]);
      if (signal.aborted) return "";
      const [words, picture, other] = vectors.map((vector) => (vector ? [Float32Array.from(vector)] : []));
      /** @type {Terms} */
      const terms = { wanted: [...(words ?? []), ...(picture ?? [])], unwanted: other ?? [] };
      const { rows, scores, milliseconds } = await collection.rank(terms);
      if (signal.aborted) return "";
      const scoreAt = (/** @type {number} */ place) => scores[rows[place] ?? -1] ?? NaN;
      this.#results.show({ collection, rows, scoreAt, sections: [{ title: "", first: 0, count: rows.length }] });
      const by = [text && `“${text}”`, like?.name].filter(Boolean).join(" and ") + (less ? `${text || like ? " " : ""}without “${less}”` : "");
      const isCosine = terms.wanted.length === 1 && !less;
      const meaning = isCosine ? "" : " The scores are sums of standard deviations from the mean of these pictures.";
      const language = languageWarning(text + less, knowsEnglishOnly(encoder.info));
      return `${pictures(rows.length)} by how well they fit ${by}, searched in ${Math.max(1, Math.round(milliseconds))} ms.${meaning} ${language}`.trim();
    });
  }

  async #findDuplicates() {
    const least = Number(likenessMenu.value);
    await this.#run("Comparing each picture with each…", async (_, collection, signal) => {
      stopButton.hidden = false;
      const onProgress = (/** @type {number} */ share) => {
        // In steps, because screen readers read each aloud.
        if (!signal.aborted) summary.textContent = `Comparing each picture with each: ${10 * Math.floor(10 * share)} %…`;
      };
      const { groups, cosines } = await collection.duplicates(least, { signal, onProgress });
      let first = 0;
      const sections = groups.map((group) => {
        const section = { title: `${group.length} pictures`, first, count: group.length };
        first += group.length;
        return section;
      });
      const scoreAt = (/** @type {number} */ place) => cosines[place] ?? NaN;
      this.#results.show({ collection, rows: Uint32Array.from(groups.flat()), scoreAt, sections });
      if (groups.length === 0) return `Of ${pictures(collection.count)}, no two have a cosine of ${least} or more.`;
      const found = groups.length === 1 ? "1 group" : `${groups.length.toLocaleString("en")} groups`;
      return `${found} of pictures with a cosine of ${least} or more. The score is the cosine with the nearest of the group.`;
    });
  }

  /**
   * @param {string} doing
   * @param {(encoder: ClipEncoder, collection: Collection, signal: AbortSignal) => Promise<string>} act shows the result
   *   and describes it
   */
  async #run(doing, act) {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.#hasBegun = false;
    stopButton.hidden = true;
    showError(errorPlace);
    const before = summary.textContent;
    summary.textContent = doing;
    try {
      const { encoder, collection } = await this.#subject.open();
      if (this.#running !== running) return;
      this.#hasBegun = true;
      summary.textContent = doing; // opening another model's pictures has cleared it
      if (collection.count === 0) {
        throw new ClipError("empty_input", "nothing is indexed for this model yet: drop a folder of pictures first");
      }
      const text = await act(encoder, collection, running.signal);
      if (this.#running !== running) return;
      summary.textContent = running.signal.aborted ? "Stopped." : text;
      this.#results.reveal(summary);
    } catch (error) {
      if (this.#running !== running) return;
      summary.textContent = running.signal.aborted ? "Stopped." : this.#results.isEmpty ? "" : before;
      showError(errorPlace, error);
      if (errorJson(error).error.code === "encoder_lost") this.#subject.onEncoderLost();
    } finally {
      if (this.#running === running) {
        this.#running = null;
        if (document.activeElement === stopButton) summary.focus();
        stopButton.hidden = true;
      }
    }
  }
}
