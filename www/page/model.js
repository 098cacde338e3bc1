// The model panel: choose one, load it with progress, cancel, and say what is ready.

import { ClipEncoder, ClipError } from "../clip.js";
import { download } from "../download.js";
import { elementById } from "./elements.js";
import { showError } from "./notice.js";

/**
 * @typedef {object} MenuEntry an entry of models.json
 * @property {string} name
 * @property {string} type of its weights, such as `q8_0`
 * @property {string} description
 * @property {number} parameters
 * @property {string} licence
 * @property {string} url relative to models.json
 * @property {number} [size] bytes
 * @property {boolean} [builtIn] it comes with the page and is small: nobody need be asked before it is loaded
 * @property {string} [limits] what it does not know, for whoever shows it something else
 */

/** @import { ModelInfo } from "../pkg/simd128/clip_wasm.js" */

/** @typedef {{ source: string | File, size?: number, builtIn?: boolean, limits?: string }} Choice */
/** @typedef {{ source: string | File, promise: Promise<ClipEncoder>, abort: AbortController }} Load */

const MENU_URL = new URL("../models.json", import.meta.url);

const form = elementById("model-form", HTMLFormElement);
const origins = elementById("model-origins", HTMLFieldSetElement);
const menu = elementById("model-menu", HTMLSelectElement);
const urlField = elementById("model-url", HTMLInputElement);
const fileField = elementById("model-file", HTMLInputElement);
const about = elementById("model-about", HTMLElement);
const loadButton = elementById("model-load", HTMLButtonElement);
const progressRow = elementById("model-progress", HTMLElement);
const bar = elementById("model-bar", HTMLProgressElement);
const bytes = elementById("model-bytes", HTMLElement);
const cancelButton = elementById("model-cancel", HTMLButtonElement);
const state = elementById("model-state", HTMLElement);
const errorPlace = elementById("model-error", HTMLElement);

export class ModelPanel {
  /** @type {MenuEntry[]} */
  #entries = [];
  /** @type {Promise<void>} */
  #menuShown;
  /** @type {{ encoder: ClipEncoder, source: string | File, limits: string } | null} */
  #loaded = null;
  /** @type {Load | null} */
  #loading = null;
  /** @type {string | File | null} what failed to load last */
  #failed = null;

  constructor() {
    this.#menuShown = this.#showMenu();
    form.addEventListener("input", () => this.#showChoice());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#menuShown.then(() => this.#load()).catch(() => {}); // said in the panel
    });
    cancelButton.addEventListener("click", () => this.#loading?.abort.abort());
  }

  /**
   * The encoder of the model chosen, loading it first where need be. After a failed load, the model
   * from before goes on serving until another is chosen.
   * @returns {Promise<ClipEncoder>}
   */
  async encoder() {
    if (this.#loading) return this.#loading.promise;
    await this.#menuShown;
    const source = this.#choice()?.source;
    if (this.#loaded && (source === this.#loaded.source || source === this.#failed)) {
      return this.#loaded.encoder;
    }
    return this.#load();
  }

  /** What the model in use does not know; empty for one that knows the world. */
  get limits() {
    return this.#loaded?.limits ?? "";
  }

  /**
   * Whether the model chosen is ready, or comes with the page.
   * @returns {Promise<boolean>}
   */
  async isAtHand() {
    await this.#menuShown;
    const choice = this.#choice();
    return choice !== null && (choice.source === this.#loaded?.source || choice.builtIn === true);
  }

  /**
   * Chooses a file, as when it is dropped on the page, and loads it.
   * @param {File} file
   */
  loadFile(file) {
    const files = new DataTransfer();
    files.items.add(file);
    fileField.files = files.files;
    /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value = "file";
    this.#showChoice();
    this.#load().catch(() => {}); // said in the panel
  }

  /** The encoder has failed for good: the next call loads its model again. */
  forget() {
    this.#loaded = null;
    this.#showChoice();
    state.textContent = "The model was lost. Embed loads it again.";
  }

  /** Two callers share one load. */
  async #load() {
    if (this.#loading) return this.#loading.promise;
    const choice = this.#choice();
    if (!choice) {
      const error = this.#nothingChosen();
      showError(errorPlace, error);
      throw error;
    }
    const abort = new AbortController();
    const promise = ClipEncoder.load(choice.source, {
      size: choice.size,
      signal: abort.signal,
      onProgress: showProgress,
    });
    this.#loading = { source: choice.source, promise, abort };
    this.#showLoading(true);
    try {
      const encoder = await promise;
      this.#loaded?.encoder.close();
      this.#loaded = { encoder, source: choice.source, limits: choice.limits ?? "" };
      this.#failed = null;
    } catch (error) {
      this.#failed = choice.source;
      showError(errorPlace, error);
      throw error;
    } finally {
      this.#loading = null;
      this.#showLoading(false);
    }
    return this.#loaded.encoder;
  }

  /** @returns {Choice | null} */
  #choice() {
    switch (this.#origin()) {
      case "url":
        return urlField.value.trim() ? { source: urlField.value.trim() } : null;
      case "file":
        return fileField.files?.[0] ? { source: fileField.files[0] } : null;
      default: {
        const entry = this.#entries[menu.selectedIndex];
        return entry ? { ...entry, source: new URL(entry.url, MENU_URL).href } : null;
      }
    }
  }

  #nothingChosen() {
    const origin = this.#origin();
    let wanted = "the menu is empty; type an address or choose a file";
    if (origin === "url") wanted = "type the address of a GGUF file";
    if (origin === "file") wanted = "choose a GGUF file";
    return new ClipError("empty_input", `no model chosen: ${wanted}`);
  }

  #origin() {
    return /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value;
  }

  async #showMenu() {
    try {
      this.#entries = await (await download(MENU_URL.href)).json();
    } catch (error) {
      showError(errorPlace, error);
    }
    for (const { name, type, size, builtIn } of this.#entries) {
      const parts = [name, type, size && megabytes(size), builtIn && "built in"];
      menu.add(new Option(parts.filter(Boolean).join(" · ")));
    }
    this.#showChoice();
  }

  #showChoice() {
    const origin = this.#origin();
    for (const field of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll(".field"))) {
      field.hidden = field.dataset.origin !== origin;
    }
    about.textContent = this.#aboutChoice(origin);
    const ready = this.#loaded !== null && this.#choice()?.source === this.#loaded.source;
    loadButton.textContent = ready ? "Loaded" : "Load";
    loadButton.disabled = ready;
  }

  /** @param {string} origin */
  #aboutChoice(origin) {
    if (origin === "url") return "A GGUF file of CLIP weights, on a server that lets this page read it (CORS).";
    if (origin === "file") return "A GGUF file of CLIP weights. It is read here and goes nowhere.";
    const entry = this.#entries[menu.selectedIndex];
    if (!entry) return "";
    const millions = entry.parameters / 1e6;
    const parameters = `${millions.toFixed(millions < 10 ? 1 : 0)} million parameters`;
    return `${entry.description} ${parameters}, licence ${entry.licence}.`;
  }

  /** @param {boolean} loading */
  #showLoading(loading) {
    const focused = document.activeElement;
    if (loading) {
      showError(errorPlace);
      showProgress({ loaded: 0, total: null });
    }
    progressRow.hidden = !loading;
    origins.disabled = loading;
    for (const control of [menu, urlField, fileField]) control.disabled = loading;
    this.#showChoice();
    loadButton.disabled ||= loading;
    this.#showState();
    // The keyboard's place goes with the button that takes over.
    if (loading && focused === loadButton) cancelButton.focus();
    if (!loading && focused === cancelButton) (loadButton.disabled ? menu : loadButton).focus();
  }

  #showState() {
    if (this.#loading) {
      state.textContent = "Loading the model…";
      return;
    }
    if (!this.#loaded) {
      state.textContent = "No model yet. Embed loads the chosen one first.";
      return;
    }
    const { info } = this.#loaded.encoder;
    state.textContent = `Ready: ${modelName(info)} · ${info.embeddingDimension} dimensions · ${towers(info)}`;
  }
}

/**
 * @param {ModelInfo} info
 * @returns {string}
 */
export function modelName({ name, type }) {
  return `${name ?? "CLIP"} · ${type}`;
}

/**
 * What a model takes: some files have one tower only.
 * @param {ModelInfo} info
 * @returns {string}
 */
function towers({ imageSize, contextLength }) {
  const images = imageSize && `images at ${imageSize} px`;
  const texts = contextLength && `texts to ${contextLength} tokens`;
  return [images, texts].filter(Boolean).join(", ");
}

/** @param {import("../weights.js").Progress} progress */
function showProgress({ loaded, total }) {
  if (total === null) {
    bar.removeAttribute("value");
    bytes.textContent = megabytes(loaded);
  } else {
    bar.max = total || 1;
    bar.value = loaded;
    bytes.textContent = `${megabytes(loaded)} of ${megabytes(total)}`;
  }
}

/**
 * @param {number} count bytes
 * @returns {string} decimal, as browsers show downloads
 */
function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
