// The text field: one input per line, and the errors of the lines that failed.

import { languageWarning } from "../model/names.js";
import { elementById, newElement } from "../shell/elements.js";
import { showError } from "../shell/notice.js";

/** @import { Input } from "./input.js" */

const field = elementById("texts", HTMLTextAreaElement);
const hint = elementById("texts-hint", HTMLElement);
const languageNote = elementById("texts-language", HTMLElement);
const errors = elementById("text-errors", HTMLUListElement);

export class TextList {
  /** The text that the page itself has written into the field. */
  #suggested = "";
  #isEnglishOnly = false;

  constructor() {
    field.addEventListener("input", () => {
      errors.replaceChildren();
      this.#showLanguageNote();
    });
  }

  /** @param {boolean} isEnglishOnly whether the model in use knows no other language */
  showLanguage(isEnglishOnly) {
    this.#isEnglishOnly = isEnglishOnly;
    hint.textContent = isEnglishOnly ? "one per line, in English" : "one per line";
    this.#showLanguageNote();
  }

  #showLanguageNote() {
    languageNote.textContent = languageWarning(field.value, this.#isEnglishOnly);
    languageNote.hidden = languageNote.textContent === "";
  }

  /**
   * Fills the field, unless the user has written in it.
   * @param {string[]} texts
   */
  suggest(texts) {
    if (field.value !== this.#suggested && field.value.trim() !== "") return;
    this.#suggested = texts.join("\n");
    field.value = this.#suggested;
    errors.replaceChildren();
  }

  /** Removes what the page has suggested, unless the user has changed it. */
  dropSuggested() {
    if (field.value === this.#suggested) this.suggest([]);
  }

  /** Adds texts to what the user has written; they replace what the page has suggested. @param {string[]} texts */
  add(texts) {
    const own = field.value === this.#suggested ? "" : field.value.trimEnd();
    field.value = [own, ...texts.map((text) => text.replaceAll(/\s+/g, " "))].filter(Boolean).join("\n");
    this.#showLanguageNote();
  }

  /** @returns {Input[]} the lines that are not empty */
  inputs() {
    errors.replaceChildren();
    return field.value.split("\n").flatMap((line, index) => {
      const text = line.trim();
      if (!text) return [];
      return {
        kind: "text",
        source: text,
        embed: (encoder, options) => encoder.embedText([text], options),
        show: (state, error) => {
          if (state === "failed") showLineError(index + 1, error);
        },
      };
    });
  }
}

/**
 * @param {number} line counted from 1
 * @param {unknown} error
 */
function showLineError(line, error) {
  const place = newElement("div", {});
  errors.append(newElement("li", {}, `Line ${line}: `, place));
  showError(place, error);
}
