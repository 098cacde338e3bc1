// The model panel: choose one, load it with progress, cancel, and say what is ready.

import { ClipEncoder, ClipError } from "../../clip.js";
import { megabytes } from "../../lib/shared/units.js";
import { elementById, newElement } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { ModelChoice } from "./choice.js";
import { showKept } from "./kept.js";
import { lastLoadDied, markLoad } from "./last-load.js";
import { modelName, towers } from "./names.js";
import { showProgress } from "./progress.js";

/** @typedef {{ source: string | File | File[], promise: Promise<ClipEncoder>, abort: AbortController }} Load */

const form = elementById("model-form", HTMLFormElement);
const loadButton = elementById("model-load", HTMLButtonElement);
const progressRow = elementById("model-progress", HTMLElement);
const cancelButton = elementById("model-cancel", HTMLButtonElement);
const state = elementById("model-state", HTMLElement);
const note = elementById("model-note", HTMLElement);
const errorPlace = elementById("model-error", HTMLElement);
const offer = elementById("model-offer", HTMLElement);

/** Smaller models that are offered where one is too large. */
const MOST_OFFERS = 2;

/** Tells `ready` each time another model has come. */
export class ModelPanel extends EventTarget {
  #choice = new ModelChoice();
  /** @type {Promise<void>} */
  #menuShown;
  /** @type {{ encoder: ClipEncoder, source: string | File | File[], limits: string, builtIn: boolean, whole: boolean } | null} */
  #loaded = null;
  /** @type {Load | null} */
  #loading = null;
  /** @type {string | File | File[] | null} what failed to load last */
  #failed = null;
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
      showKept((url) => this.#choice.nameOf(url));
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
    const source = this.#choice.now()?.source;
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
    const choice = this.#choice.now();
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
    this.#choice.setFiles(files);
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
    const choice = this.#choice.now();
    if (!choice) {
      const error = this.#choice.nothingChosen();
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
      showKept((url) => this.#choice.nameOf(url));
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
    showKept((url) => this.#choice.nameOf(url));
  }

  /** Smaller models, and the one chosen all the same. */
  #showOffer() {
    const size = this.#choice.now()?.size ?? Infinity;
    const buttons = this.#choice.smallerThan(size).slice(0, MOST_OFFERS).map((entry) => {
      const text = `Load ${entry.name} · ${entry.type} · ${megabytes(Number(entry.size))}`;
      return button(text, () => {
        this.#choice.setEntry(entry);
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
    this.#choice.setEntryAt(name);
    this.#showChoice();
    this.#showNote(
      `The last time, the page broke down while it loaded ${this.#choice.nameOf(name)}, perhaps for want of memory. ` +
        "Close other tabs, or choose a smaller model.",
    );
    this.#showOffer();
  }

  /** @param {string} [text] */
  #showNote(text = "") {
    note.textContent = text;
    note.hidden = text === "";
  }

  async #showMenu() {
    await this.#choice.showMenu().catch((error) => showError(errorPlace, error));
    this.#showChoice();
  }

  #showChoice() {
    this.#choice.show();
    const ready = this.#loaded !== null && this.#loaded.whole && this.#choice.now()?.source === this.#loaded.source;
    loadButton.textContent = ready ? "Loaded" : "Load";
    loadButton.disabled = ready;
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
    this.#choice.disable(loading);
    this.#showChoice();
    loadButton.disabled ||= loading;
    this.#showState();
    // The keyboard's place goes with the button that takes over.
    if (loading && focused === loadButton) cancelButton.focus();
    if (!loading && focused === cancelButton) (loadButton.disabled ? this.#choice.menu : loadButton).focus();
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
 * @param {string} text
 * @param {() => Promise<unknown>} act
 */
function button(text, act) {
  const element = newElement("button", { type: "button" }, text);
  element.addEventListener("click", () => act().catch(() => {})); // said in the panel
  return element;
}
