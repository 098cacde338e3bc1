// The search form: searches the indexed pictures by words or by a picture, and describes the result.

import { ClipError, errorJson } from "../../clip.js";
import { elementById } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { pictures } from "./progress.js";
import { nameOf, ResultList } from "./results.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { Collection } from "./collection.js" */
/** @import { Entry } from "./database.js" */

const form = elementById("search-form", HTMLFormElement);
const textField = elementById("search-text", HTMLInputElement);
const pictureInput = elementById("search-picture", HTMLInputElement);
const summary = elementById("search-summary", HTMLElement);
const errorPlace = elementById("query-error", HTMLElement);

/**
 * What is searched.
 * @typedef {object} Subject
 * @property {() => Promise<{ encoder: ClipEncoder, collection: Collection }>} open loads the model if necessary
 * @property {() => void} onEncoderLost
 * @property {(entry: Entry) => File | null} fileOf a picture, if its folder has been opened in this visit
 */

export class Query {
  #subject;
  #results;
  /** Counts the searches: only the result of the last one is shown. */
  #searches = 0;

  /** @param {Subject} subject */
  constructor(subject) {
    this.#subject = subject;
    this.#results = new ResultList({
      fileOf: subject.fileOf,
      onLike: async (entry, vector) => {
        await this.#search(nameOf(entry), async () => vector);
        summary.focus(); // the button that was pressed is gone
      },
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#searchText(textField.value.trim());
    });
    pictureInput.addEventListener("change", () => {
      const file = pictureInput.files?.[0];
      if (file) this.searchPicture(file);
      pictureInput.value = ""; // so that the same file can be chosen again
    });
  }

  /** @param {File} file */
  async searchPicture(file) {
    await this.#search(file.name, async (encoder) => (await encoder.embedImage([file])).data[0]);
  }

  /** Removes the result, because its pictures are no longer indexed. */
  clear() {
    this.#results.clear();
    showError(errorPlace);
    summary.textContent = "";
  }

  /** @param {string} text */
  async #searchText(text) {
    await this.#search(`“${text}”`, async (encoder) => {
      if (text === "") throw new ClipError("empty_input", "type what to look for, or choose a picture to search by");
      return (await encoder.embedText([text])).data[0];
    });
  }

  /**
   * @param {string} name of the text or the picture that is searched for
   * @param {(encoder: ClipEncoder) => Promise<ArrayLike<number> | undefined>} embed
   */
  async #search(name, embed) {
    const search = ++this.#searches;
    showError(errorPlace);
    summary.textContent = "Searching…";
    try {
      const { encoder, collection } = await this.#subject.open();
      summary.textContent = "Searching…"; // opening another model's pictures has cleared it
      if (collection.count === 0) {
        throw new ClipError("empty_input", "nothing is indexed for this model yet: drop a folder of pictures first");
      }
      const vector = await embed(encoder);
      if (search !== this.#searches || !vector) return;
      const start = performance.now();
      const ranking = collection.rank(vector);
      const milliseconds = Math.max(1, Math.round(performance.now() - start));
      await this.#results.show(collection, ranking);
      if (search !== this.#searches) return;
      summary.textContent = `${pictures(collection.count)} by how well they fit ${name}, searched in ${milliseconds} ms.`;
    } catch (error) {
      if (search !== this.#searches) return;
      summary.textContent = "";
      showError(errorPlace, error);
      if (errorJson(error).error.code === "encoder_lost") this.#subject.onEncoderLost();
    }
  }
}
