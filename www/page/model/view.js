// The model panel: choose one, load it with progress, cancel, and say what is ready.

import { ClipEncoder, ClipError } from "../../clip.js";
import { downloadJson } from "../../lib/shared/download.js";
import { elementById, newElement } from "../shell/elements.js";
import { showKept } from "./kept.js";
import { lastLoadDied, markLoad } from "./last-load.js";
import { showError } from "../shell/notice.js";
import { addressOf } from "../shell/resources.js";
import { duration, megabytes } from "../../lib/shared/units.js";

/**
 * @typedef {object} MenuEntry an entry of models.json
 * @property {string} name
 * @property {string} type of its weights, such as `q8_0`
 * @property {string} description
 * @property {number} parameters
 * @property {string} licence
 * @property {string} url absolute, or from the page on
 * @property {number} [size] bytes
 * @property {string} [sha256]
 * @property {string[]} [mirrors] further addresses, as `url`
 * @property {boolean} [builtIn] it comes with the page and is small: nobody need be asked before it is loaded
 * @property {string} [limits] what it does not know, for whoever shows it something else
 */

/** @import { Progress } from "../../lib/worker/load-gguf.js" */
/** @import { ModelInfo } from "../../clip.js" */

/**
 * @typedef {object} Choice
 * @property {string | File | File[]} source
 * @property {number} [size]
 * @property {string} [sha256]
 * @property {string[]} [mirrors]
 * @property {boolean} [builtIn]
 * @property {string} [limits]
 */

/** @typedef {{ source: string | File | File[], promise: Promise<ClipEncoder>, abort: AbortController }} Load */

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
const note = elementById("model-note", HTMLElement);
const errorPlace = elementById("model-error", HTMLElement);
const offer = elementById("model-offer", HTMLElement);

/** Smaller models that are offered where one is too large. */
const MOST_OFFERS = 2;

/** Tells `ready` each time another model has come. */
export class ModelPanel extends EventTarget {
  /** @type {MenuEntry[]} */
  #entries = [];
  /** @type {Promise<void>} */
  #menuShown;
  /** @type {{ encoder: ClipEncoder, source: string | File | File[], limits: string, builtIn: boolean, whole: boolean } | null} */
  #loaded = null;
  /** @type {Load | null} */
  #loading = null;
  /** @type {string | File | File[] | null} what failed to load last */
  #failed = null;
  /** @type {File[]} chosen last, where they are several */
  #files = [];
  /** @type {AbortController | null} of the images' half, while it is still coming */
  #rest = null;

  constructor() {
    super();
    this.#menuShown = this.#showMenu();
    form.addEventListener("input", () => this.#showChoice());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#menuShown.then(() => this.#load()).catch(() => {}); // said in the panel
    });
    cancelButton.addEventListener("click", () => (this.#loading?.abort ?? this.#rest)?.abort());
    this.#menuShown.then(() => {
      showKept((url) => this.#nameOf(url));
      this.#recallDeath();
    });
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

  /** Whether the model in use is the one that comes with the page. */
  get isBuiltIn() {
    return this.#loaded?.builtIn ?? false;
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
   * The encoder in use; where there is none, that of the model chosen if it comes with the page.
   * @returns {Promise<ClipEncoder | null>}
   */
  async encoderAtHand() {
    if (this.#loaded) return this.#loaded.encoder;
    return (await this.isAtHand()) ? this.encoder() : null;
  }

  /**
   * Chooses a model's files, as when they are dropped on the page, and loads them.
   * @param {File[]} files
   */
  loadFiles(files) {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    fileField.files = transfer.files;
    /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value = "file";
    this.#showChoice();
    this.#load().catch(() => {}); // said in the panel
  }

  /** The encoder does not start anew any more: the next call loads its model again. */
  forget() {
    this.#loaded = null;
    this.#showChoice();
    state.textContent = "The model was lost. Embed loads it again.";
  }

  /**
   * Two callers share one load. It gives the encoder as soon as texts can be embedded; images wait for the rest.
   * @param {{ ignoreMemory?: boolean }} [options]
   */
  async #load({ ignoreMemory } = {}) {
    if (this.#loading) return this.#loading.promise;
    const choice = this.#choice();
    if (!choice) {
      const error = this.#nothingChosen();
      showError(errorPlace, error);
      throw error;
    }
    this.#rest?.abort();
    const abort = new AbortController();
    const { source, size, sha256, mirrors } = choice;
    const loaded = choice.builtIn ? () => {} : markLoad(typeof source === "string" ? source : "a file from disk");
    const promise = ClipEncoder.load(source, {
      size,
      sha256,
      mirrors,
      ignoreMemory,
      first: "text",
      signal: abort.signal,
      onProgress: (progress) => abort.signal.aborted || showProgress(progress),
      onWarning: ({ code, message }) => {
        this.#showNote(message);
        if (code === "worker_replaced") promise.then((encoder) => this.#followReplacement(encoder));
      },
    });
    this.#loading = { source, promise, abort };
    this.#showLoading(true);
    try {
      const encoder = await promise;
      this.#loaded?.encoder.close();
      this.#loaded = { encoder, source, limits: choice.limits ?? "", builtIn: choice.builtIn ?? false, whole: true };
      this.#failed = null;
      this.#followRest(encoder, abort, loaded);
      this.dispatchEvent(new Event("ready"));
    } catch (error) {
      loaded();
      this.#failed = source;
      this.#showFailure(error);
      throw error;
    } finally {
      this.#loading = null;
      this.#showLoading(false);
    }
    return this.#loaded.encoder;
  }

  /**
   * @param {ClipEncoder} encoder
   * @param {AbortController} abort
   * @param {() => void} loaded
   */
  async #followRest(encoder, abort, loaded) {
    this.#rest = abort;
    try {
      await encoder.loaded;
    } catch (error) {
      if (this.#rest === abort) this.#showFailure(error);
      if (this.#loaded?.encoder === encoder) this.#loaded.whole = false; // Load gets the rest
    } finally {
      loaded();
      if (this.#rest === abort) {
        this.#rest = null;
        this.#showLoading(this.#loading !== null);
      }
      showKept((url) => this.#nameOf(url));
    }
  }

  /**
   * The encoder starts anew: calls wait, and whoever looks is told why.
   * @param {ClipEncoder} encoder
   */
  async #followReplacement(encoder) {
    if (this.#loading || this.#loaded?.encoder !== encoder) return;
    state.textContent = "Loading the model again…";
    await encoder.loaded.catch(() => {}); // said where it was asked for
    this.#showState();
  }

  /** @param {unknown} error */
  #showFailure(error) {
    showError(errorPlace, error);
    if (error instanceof ClipError && error.code === "low_memory") this.#showOffer();
    showKept((url) => this.#nameOf(url));
  }

  /** Smaller models, and the one chosen all the same. */
  #showOffer() {
    const size = this.#choice()?.size ?? Infinity;
    const smaller = this.#entries.filter((entry) => entry.size !== undefined && entry.size < size);
    smaller.sort((a, b) => Number(b.size) - Number(a.size));
    const buttons = smaller.slice(0, MOST_OFFERS).map((entry) => {
      const text = `Load ${entry.name} · ${entry.type} · ${megabytes(Number(entry.size))}`;
      return button(text, () => {
        /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value = "menu";
        menu.selectedIndex = this.#entries.indexOf(entry);
        this.#showChoice();
        return this.#load();
      });
    });
    buttons.push(button("Load it all the same", () => this.#load({ ignoreMemory: true })));
    offer.replaceChildren(...buttons);
    offer.hidden = false;
  }

  /** A load that took the page with it is recognised at the next visit. */
  async #recallDeath() {
    const name = await lastLoadDied();
    if (!name || this.#loading || this.#loaded) return;
    const index = this.#entries.findIndex((entry) => addressOf(entry.url) === name);
    if (index >= 0) menu.selectedIndex = index;
    this.#showChoice();
    this.#showNote(
      `The last time, the page broke down while it loaded ${this.#nameOf(name)}, perhaps for want of memory. ` +
        "Close other tabs, or choose a smaller model.",
    );
    this.#showOffer();
  }

  /** @param {string} [text] */
  #showNote(text = "") {
    note.textContent = text;
    note.hidden = text === "";
  }

  /**
   * @param {string} url
   * @returns {string} as the menu calls it
   */
  #nameOf(url) {
    const entry = this.#entries.find((entry) => addressOf(entry.url) === url);
    return entry ? `${entry.name} · ${entry.type}` : url;
  }

  /** @returns {Choice | null} */
  #choice() {
    switch (this.#origin()) {
      case "url":
        return urlField.value.trim() ? { source: urlField.value.trim() } : null;
      case "file":
        return this.#chosenFiles();
      default: {
        const entry = this.#entries[menu.selectedIndex];
        if (!entry) return null;
        const mirrors = entry.mirrors?.map(addressOf);
        return { ...entry, mirrors, source: addressOf(entry.url) };
      }
    }
  }

  /** One file is a model; several are a checkpoint. @returns {Choice | null} */
  #chosenFiles() {
    const files = [...(fileField.files ?? [])];
    if (files.length < 2) return files[0] ? { source: files[0] } : null;
    // The same list for the same files: that is how a loaded model is known again.
    const same = this.#files.length === files.length && this.#files.every((file, i) => file === files[i]);
    if (!same) this.#files = files;
    return { source: this.#files };
  }

  #nothingChosen() {
    const origin = this.#origin();
    let wanted = "the menu is empty; type an address or choose a file";
    if (origin === "url") wanted = "type the address of a GGUF, safetensors or pytorch_model.bin file";
    if (origin === "file") wanted = "choose a GGUF file, or a checkpoint's files";
    return new ClipError("empty_input", `no model chosen: ${wanted}`);
  }

  #origin() {
    return /** @type {RadioNodeList} */ (form.elements.namedItem("origin")).value;
  }

  async #showMenu() {
    try {
      this.#entries = await downloadJson(addressOf("models.json"));
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
    const ready = this.#loaded !== null && this.#loaded.whole && this.#choice()?.source === this.#loaded.source;
    loadButton.textContent = ready ? "Loaded" : "Load";
    loadButton.disabled = ready;
  }

  /** @param {string} origin */
  #aboutChoice(origin) {
    if (origin === "url") return "A GGUF file of CLIP weights, or the .safetensors or pytorch_model.bin of a checkpoint with its configuration beside it, on a server that lets this page read it (CORS).";
    if (origin === "file") return "A GGUF file of CLIP weights; or a checkpoint's .safetensors or pytorch_model.bin with its config.json and tokenizer.json, chosen together. It is read here and goes nowhere.";
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
      this.#showNote();
      offer.hidden = true;
      showProgress({ loaded: 0, total: null, bytesPerSecond: null, secondsLeft: null });
    }
    progressRow.classList.toggle("absent", !loading && this.#rest === null);
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
    const rest = this.#rest && info.imageSize === null ? "; images as soon as the rest has come" : "";
    state.textContent = `Ready: ${modelName(info)} · ${info.embeddingDimension} dimensions · ${towers(info)}${rest}`;
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

/** @param {Progress} progress */
function showProgress({ loaded, total, bytesPerSecond, secondsLeft }) {
  const parts = [total === null ? megabytes(loaded) : `${megabytes(loaded)} of ${megabytes(total)}`];
  if (total === null) {
    bar.removeAttribute("value");
  } else {
    bar.max = total || 1;
    bar.value = loaded;
  }
  if (bytesPerSecond !== null && secondsLeft !== null && secondsLeft > 1) {
    parts.push(`${megabytes(bytesPerSecond)}/s`, `${duration(secondsLeft)} left`);
  }
  bytes.textContent = parts.join(" · ");
}

/**
 * @param {string} text
 * @param {() => Promise<unknown>} act
 */
function button(text, act) {
  const element = newElement("button", { type: "button" }, text);
  element.addEventListener("click", () => act().catch(() => {})); // said in the panel
  return element;
}
