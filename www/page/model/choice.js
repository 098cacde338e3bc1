// The form for choosing a model: from the menu, by its URL, or as files.

import { ClipError } from "../../clip.js";
import { downloadJson } from "../../lib/shared/download.js";
import { folderUrl, hubModelOf } from "../../lib/shared/hub.js";
import { TOWERS } from "../../lib/shared/towers.js";
import { megabytes } from "../../lib/shared/units.js";
import { elementById } from "../shell/elements.js";
import { addressOf } from "../shell/resources.js";

/** @import { KeptModel, Tower } from "../../clip.js" */

/**
 * @typedef {object} MenuEntry an entry of models.json
 * @property {string} name
 * @property {string} type of its weights, such as `q8_0`
 * @property {string} description
 * @property {number} parameters
 * @property {string} licence
 * @property {string} url absolute, or relative to the page; or the address of a repository on the Hub
 * @property {number} [size] bytes
 * @property {number} [keptSize] bytes that are kept of a checkpoint, which is converted
 * @property {string} [sha256]
 * @property {string[]} [mirrors] further URLs, in the same form as `url`
 * @property {Record<Tower, number>} [towers] bytes that are downloaded for one tower alone, about
 * @property {boolean} [builtIn] whether it is part of the page and small, so that it can be loaded without asking
 * @property {string} [limits] a sentence about what the model does not know, shown with the user's own inputs
 */

/**
 * @typedef {object} Choice
 * @property {string | File | File[]} source
 * @property {number} [size]
 * @property {string} [sha256]
 * @property {string[]} [mirrors]
 * @property {boolean} [builtIn]
 * @property {string} [limits]
 * @property {Tower[]} [towers] that are wanted; all that the model has, if there is no such property
 */

const form = elementById("model-form", HTMLFormElement);
const origins = elementById("model-origins", HTMLFieldSetElement);
const menu = elementById("model-menu", HTMLSelectElement);
const urlField = elementById("model-url", HTMLInputElement);
const fileField = elementById("model-file", HTMLInputElement);
const towersField = elementById("model-for", HTMLElement);
const towersMenu = elementById("model-towers", HTMLSelectElement);
const about = elementById("model-about", HTMLElement);

/** What a model can be loaded for: the menu's options without sizes. */
const PURPOSES = [...towersMenu.options].map(({ textContent }) => textContent);

export class ModelChoice {
  /** @type {MenuEntry[]} */
  #entries = [];
  /** @type {File[]} the last choice of several files */
  #files = [];
  /** @type {KeptModel[]} */
  #kept = [];
  /** What {@link propose} has chosen for the model of the menu; empty if nothing. */
  #proposed = "";

  /** Fills the menu. Rejects if models.json cannot be loaded; the other ways to choose a model still work. */
  async showMenu() {
    this.#entries = await downloadJson(addressOf("models.json"));
    for (const entry of this.#entries) menu.add(new Option(nameAndSize(entry)));
  }

  /** Shows the fields for the chosen origin, and a description of the model. */
  show() {
    const origin = this.#origin();
    for (const field of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll(".field"))) {
      field.hidden = field.dataset.origin !== origin;
    }
    this.#showPurposes();
    about.textContent = this.#aboutChoice(origin);
  }

  /** What the model is loaded for, with the size of that download. A model of the page itself is always whole. */
  #showPurposes() {
    const entry = this.#entry();
    towersField.hidden = entry?.builtIn === true;
    for (const [index, option] of [...towersMenu.options].entries()) {
      const size = entry?.towers?.[/** @type {Tower} */ (option.value)];
      option.textContent = [PURPOSES[index], size && `${megabytes(size, 0)} download`].filter(Boolean).join(" · ");
    }
  }

  /** @param {KeptModel[]} models that are stored on this device */
  setKept(models) {
    this.#kept = models;
  }

  /** If only one tower of the menu's model is stored, chooses that one: the other would have to be downloaded. */
  propose() {
    if (towersMenu.value !== this.#proposed) return; // the user has chosen
    const entry = this.#entry();
    const kept = entry ? this.#kept.filter(({ url }) => isOf(entry, url)) : [];
    const [tower, ...others] = new Set(kept.flatMap(({ whole, towers }) => (whole ? TOWERS : towers)));
    towersMenu.value = this.#proposed = tower && others.length === 0 ? tower : "";
  }

  /** @param {boolean} isLoading */
  disable(isLoading) {
    origins.disabled = isLoading;
    for (const control of [menu, urlField, fileField, towersMenu]) control.disabled = isLoading;
  }

  /** @param {File[]} files of a model, of which all is wanted */
  setFiles(files) {
    this.#putFiles(files);
    towersMenu.value = this.#proposed = "";
    this.#setOrigin("file");
  }

  /** @param {File[]} files */
  #putFiles(files) {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    fileField.files = transfer.files;
  }

  /** What is chosen, for {@link restore}. */
  state() {
    return { origin: this.#origin(), index: menu.selectedIndex, url: urlField.value, files: [...(fileField.files ?? [])], towers: towersMenu.value, proposed: this.#proposed };
  }

  /** @param {ReturnType<ModelChoice["state"]>} state */
  restore({ origin, index, url, files, towers, proposed }) {
    menu.selectedIndex = index;
    towersMenu.value = towers;
    this.#proposed = proposed;
    urlField.value = url;
    this.#putFiles(files);
    this.#setOrigin(origin);
  }

  /** @param {MenuEntry} entry */
  setEntry(entry) {
    menu.selectedIndex = this.#entries.indexOf(entry);
    this.#setOrigin("menu");
    this.propose();
  }

  /** @param {string} url of an entry; any other URL changes nothing */
  setEntryAt(url) {
    const index = this.#entries.findIndex((entry) => addressOf(entry.url) === url);
    if (index >= 0) menu.selectedIndex = index;
    this.propose();
  }

  /**
   * @param {number} size bytes
   * @returns {MenuEntry[]} the largest first
   */
  smallerThan(size) {
    const smaller = this.#entries.filter((entry) => entry.size !== undefined && entry.size < size);
    return smaller.sort((a, b) => Number(b.size) - Number(a.size));
  }

  /**
   * @param {string} url
   * @returns {string} its name in the menu, or the URL itself
   */
  nameOf(url) {
    const entry = this.#entries.find((entry) => isOf(entry, url));
    return entry ? `${entry.name} · ${entry.type}` : url;
  }

  /** The chosen model of the menu with its size; empty for a model from elsewhere. */
  summary() {
    const entry = this.#entry();
    return entry ? nameAndSize(entry) : "";
  }

  /** The current choice. @returns {Choice | null} */
  now() {
    const choice = this.#chosen();
    if (!choice || choice.builtIn) return choice;
    return { ...choice, towers: towersMenu.value === "" ? undefined : [/** @type {Tower} */ (towersMenu.value)] };
  }

  /** @returns {Choice | null} */
  #chosen() {
    switch (this.#origin()) {
      case "url":
        return urlField.value.trim() ? { source: urlField.value.trim() } : null;
      case "file":
        return this.#chosenFiles();
      default: {
        const entry = this.#entry();
        if (!entry) return null;
        const { url, size, sha256, mirrors, builtIn, limits } = entry;
        return { source: addressOf(url), size, sha256, mirrors: mirrors?.map(addressOf), builtIn, limits };
      }
    }
  }

  /** The chosen entry of the menu. */
  #entry() {
    return this.#origin() === "menu" ? this.#entries[menu.selectedIndex] : undefined;
  }

  /** One file is a model; several are a checkpoint. @returns {Choice | null} */
  #chosenFiles() {
    const files = [...(fileField.files ?? [])];
    if (files.length < 2) return files[0] ? { source: files[0] } : null;
    // Return the same list for the same files: the page compares lists to see whether a model is loaded already.
    const same = this.#files.length === files.length && this.#files.every((file, i) => file === files[i]);
    if (!same) this.#files = files;
    return { source: this.#files };
  }

  /** The error of a form in which nothing is chosen. */
  nothingChosen() {
    const origin = this.#origin();
    let wanted = "the menu is empty; type an address or choose a file";
    if (origin === "url") wanted = "type the name of a model on the Hub, or the address of a GGUF, safetensors or pytorch_model.bin file";
    if (origin === "file") wanted = "choose a GGUF file, or a checkpoint's files";
    return new ClipError("empty_input", `no model chosen: ${wanted}`);
  }

  #origin() {
    return /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value;
  }

  /** @param {string} origin */
  #aboutChoice(origin) {
    if (origin === "url") return "A CLIP model of Hugging Face's Hub by its name, such as openai/clip-vit-base-patch32. Or the address of a GGUF file, or of the .safetensors or pytorch_model.bin of a checkpoint with its configuration beside it, on a server that lets this page read it (CORS).";
    if (origin === "file") return "A GGUF file of CLIP weights; or a checkpoint's .safetensors or pytorch_model.bin with its config.json and tokenizer.json, chosen together. It is read here and goes nowhere.";
    const entry = this.#entry();
    if (!entry) return "";
    const millions = entry.parameters / 1e6;
    const parameters = `${millions.toFixed(millions < 10 ? 1 : 0)} million parameters`;
    return `${entry.description} ${parameters}, licence ${entry.licence}.`;
  }

  /** @param {string} origin */
  #setOrigin(origin) {
    /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value = origin;
  }
}

/** @param {MenuEntry} entry */
function nameAndSize({ name, type, size, keptSize, builtIn }) {
  const parts = [name, type, size && megabytes(size), keptSize && `${megabytes(keptSize)} kept`, builtIn && "built in"];
  return parts.filter(Boolean).join(" · ");
}

/**
 * @param {MenuEntry} entry
 * @param {string} url of a stored file, or of a checkpoint with the type it was converted to
 * @returns {boolean} whether the file is the entry's, or one of its repository
 */
function isOf(entry, url) {
  const address = addressOf(entry.url);
  const model = hubModelOf(address, {});
  return url === address || url === `${address}#${entry.type}` || (model !== null && url.startsWith(folderUrl(model)));
}
