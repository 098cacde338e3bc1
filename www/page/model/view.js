// The model: one line says which is ready, or how far its load is; it opens to the panel that chooses another.

import { ClipError } from "../../clip.js";
import { TOWERS } from "../../lib/shared/towers.js";
import { megabytes } from "../../lib/shared/units.js";
import { elementById, newElement } from "../shell/elements.js";
import { showError } from "../shell/notice.js";
import { ModelChoice } from "./choice.js";
import { showKept } from "./kept.js";
import { lastLoadDied, markLoad } from "./last-load.js";
import { loadChoice } from "./load-choice.js";
import { facts, knowsEnglishOnly, modelName, takes } from "./names.js";
import { hideProgress, showProgress } from "./progress.js";

/** @import { ClipEncoder, Tower } from "../../clip.js" */
/** @import { Choice } from "./choice.js" */
/** @typedef {{ source: string | File | File[], promise: Promise<ClipEncoder>, abort: AbortController }} Load */
/** @typedef {ReturnType<ModelChoice["state"]>} ChoiceState */

const form = elementById("model-form", HTMLFormElement);
const loadButton = elementById("model-load", HTMLButtonElement);
const panel = elementById("model-panel", HTMLElement);
const changeButton = elementById("model-change", HTMLButtonElement);
const cancelButton = elementById("model-cancel", HTMLButtonElement);
const state = elementById("model-state", HTMLElement);
const factsLine = elementById("model-facts", HTMLElement);
const inputsLine = elementById("model-inputs", HTMLElement);
const note = elementById("model-note", HTMLElement);
const errorPlace = elementById("model-error", HTMLElement);
const offer = elementById("model-offer", HTMLElement);

/** How many smaller models are offered if one is too large. */
const MOST_OFFERS = 2;

/** Dispatches `ready` each time another model is loaded. */
export class ModelPanel extends EventTarget {
  #choice = new ModelChoice();
  /** @type {Promise<void>} */
  #menuShown;
  /** @type {{ encoder: ClipEncoder, source: string | File | File[], towers: Tower[] | undefined, limits: string, builtIn: boolean, whole: boolean, choice: ChoiceState } | null} */
  #loaded = null;
  /** @type {Load | null} */
  #loading = null;
  /** @type {Choice | null} what failed to load last */
  #failed = null;
  /** @type {AbortController | null} of the vision tower's load, while it goes on */
  #rest = null;

  constructor() {
    super();
    this.#menuShown = this.#showMenu();
    form.addEventListener("input", ({ target }) => {
      if (!(target instanceof Element && target.id === "model-towers")) this.#choice.propose();
      this.#showChoice();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#loadAsked();
    });
    panel.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.#dismiss();
    });
    cancelButton.addEventListener("click", () => (this.#loading?.abort ?? this.#rest)?.abort());
    changeButton.addEventListener("click", () => (panel.hidden ? this.#open(true) : this.#dismiss()));
    this.#menuShown.then(() => this.#recallDeath());
  }

  /**
   * The encoder of the chosen model, which is loaded first if necessary. After a failed load, the model from before is
   * used until another is chosen.
   * @returns {Promise<ClipEncoder>}
   */
  async encoder() {
    if (this.#loading) return this.#loading.promise;
    await this.#menuShown;
    const choice = this.#choice.now();
    if (this.#loaded && (this.#has(choice) || this.#hasFailed(choice))) return this.#loaded.encoder;
    return this.#load();
  }

  /** Whether the model in use is part of the page. */
  get isBuiltIn() {
    return this.#loaded?.builtIn ?? false;
  }

  /** A sentence about what the model in use does not know; empty for a general model. */
  get limits() {
    return this.#loaded?.limits ?? "";
  }

  /** Whether the model in use has learnt from English texts only. */
  get knowsEnglishOnly() {
    return this.#loaded !== null && knowsEnglishOnly(this.#loaded.encoder.info);
  }

  /**
   * Whether the chosen model is loaded, or is part of the page.
   * @returns {Promise<boolean>}
   */
  async isAtHand() {
    await this.#menuShown;
    const choice = this.#choice.now();
    if (choice === null) return false;
    return this.#has(choice) || (this.#loaded !== null && this.#hasFailed(choice)) || choice.builtIn === true;
  }

  /** @param {Choice | null} choice @returns {boolean} whether its load was the last to fail */
  #hasFailed(choice) {
    return choice !== null && choice.source === this.#failed?.source && String(choice.towers) === String(this.#failed.towers);
  }

  /**
   * @param {Choice | null} choice
   * @returns {boolean} whether it is loaded, with the towers that are wanted
   */
  #has(choice) {
    if (!choice || choice.source !== this.#loaded?.source) return false;
    const { towers } = this.#loaded;
    return towers === undefined || (choice.towers ?? TOWERS).every((tower) => towers.includes(tower));
  }

  /**
   * The encoder in use; if there is none, that of the chosen model if it is part of the page.
   * @returns {Promise<ClipEncoder | null>}
   */
  async encoderAtHand() {
    if (this.#loaded) return this.#loaded.encoder;
    return (await this.isAtHand()) ? this.encoder() : null;
  }

  /**
   * Chooses a model's files, for example when they are dropped on the page, and loads them.
   * @param {File[]} files
   */
  async loadFiles(files) {
    this.#open(true);
    this.#loading?.abort.abort();
    await this.#loading?.promise.catch(() => {});
    this.#choice.setFiles(files);
    this.#showChoice();
    await this.#loadAsked();
  }

  /** The user asks for the chosen model. */
  async #loadAsked() {
    try {
      await this.#menuShown;
      await this.#load();
      this.#open(false);
    } catch {
      // Said above the panel.
    }
  }

  /** Forgets an encoder that cannot restart any more; the next call loads its model again. */
  forget() {
    this.#loaded = null;
    this.#showChoice();
    state.textContent = "The model was lost. Embed loads it again.";
  }

  /**
   * Two callers share one load. It resolves as soon as texts can be embedded; images wait for the rest.
   * @param {{ ignoreMemory?: boolean }} [options]
   */
  async #load({ ignoreMemory } = {}) {
    if (this.#loading) return this.#loading.promise;
    const choice = this.#choice.now();
    if (!choice) {
      const error = this.#choice.nothingChosen();
      this.#open(true);
      showError(errorPlace, error);
      throw error;
    }
    this.#rest?.abort();
    this.#rest = null;
    const abort = new AbortController();
    const { source, towers } = choice;
    const inUse = this.#loaded?.source === source && this.#loaded.towers !== undefined ? this.#loaded.encoder : null;
    const chosen = this.#choice.state();
    const loaded = choice.builtIn ? () => {} : markLoad(typeof source === "string" ? source : "a file from disk");
    /** @type {Promise<ClipEncoder>} */
    const promise = loadChoice(choice, inUse, {
      ignoreMemory,
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
      if (encoder !== inUse) this.#loaded?.encoder.close();
      this.#loaded = { encoder, source, towers: encoder === inUse ? encoder.info.towers : towers, limits: choice.limits ?? "", builtIn: choice.builtIn ?? false, whole: true, choice: chosen };
      this.#failed = null;
      this.#followRest(encoder, abort, loaded);
      this.dispatchEvent(new Event("ready"));
    } catch (error) {
      loaded();
      this.#failed = choice;
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
      if (this.#loaded?.encoder === encoder) this.#loaded.whole = false; // the Load button loads the rest
    } finally {
      loaded();
      if (this.#rest === abort) {
        this.#rest = null;
        this.#showLoading(this.#loading !== null);
      }
      this.#showKept();
    }
  }

  /**
   * The encoder restarts: calls wait, and the panel says why.
   * @param {ClipEncoder} encoder
   */
  async #followReplacement(encoder) {
    if (this.#loading || this.#loaded?.encoder !== encoder) return;
    state.textContent = "Loading the model again…";
    await encoder.loaded.catch(() => {}); // the call that needed it shows the error
    this.#showState();
  }

  /** @param {boolean} isOpen whether the panel is shown in which a model is chosen */
  #open(isOpen) {
    const hadFocus = panel.contains(document.activeElement);
    panel.hidden = !isOpen;
    changeButton.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen && hadFocus) changeButton.focus();
  }

  /** Closes the panel without loading: the choice is again that of the model in use, which the line names. */
  #dismiss() {
    this.#open(false);
    if (this.#loading || !this.#loaded) return;
    this.#choice.restore(this.#loaded.choice);
    this.#showChoice();
  }

  /** @param {unknown} error */
  #showFailure(error) {
    showError(errorPlace, error);
    if (error instanceof ClipError && error.code === "low_memory") this.#showOffer();
    this.#showKept();
  }

  async #showKept() {
    await showKept((url) => this.#choice.nameOf(url), (models) => this.#choice.setKept(models));
  }

  /** Offers smaller models, and to load the chosen one anyway. */
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
    buttons.push(button("Load it anyway", () => this.#load({ ignoreMemory: true })));
    offer.replaceChildren(...buttons);
    offer.hidden = false;
  }

  /** If the last load crashed the page, says so at the next visit. */
  async #recallDeath() {
    const name = await lastLoadDied();
    if (!name || this.#loading || this.#loaded) return;
    this.#choice.setEntryAt(name);
    this.#showChoice();
    this.#showNote(
      `Last time, the page crashed while it loaded ${this.#choice.nameOf(name)}, perhaps because memory ran out. ` +
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
    await this.#showKept();
    this.#choice.propose();
    this.#showChoice();
  }

  #showChoice() {
    this.#choice.show();
    const ready = this.#loaded !== null && this.#loaded.whole && this.#has(this.#choice.now());
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
    const isBusy = loading || this.#rest !== null;
    cancelButton.classList.toggle("absent", !isBusy);
    if (!isBusy) hideProgress();
    this.#choice.disable(loading);
    this.#showChoice();
    loadButton.disabled ||= loading;
    this.#showState();
    // The keyboard focus moves to the button that replaces the focused one.
    if (loading && form.contains(focused)) cancelButton.focus();
    if (!isBusy && focused === cancelButton) (panel.hidden ? changeButton : loadButton).focus();
  }

  #showState() {
    if (this.#loading) {
      const { source } = this.#loading;
      const name = typeof source === "string" ? this.#choice.nameOf(source) : "a model from disk";
      state.textContent = `Loading ${name}…`;
      return;
    }
    if (!this.#loaded) {
      state.textContent = "No model yet. Embed loads the chosen one first.";
      factsLine.textContent = this.#choice.summary();
      return;
    }
    const { encoder } = this.#loaded;
    const rest = this.#rest && encoder.info.imageSize === null ? "; images as soon as the rest is loaded" : "";
    state.textContent = `Ready: ${modelName(encoder.info)}${rest}`;
    inputsLine.textContent = `In use: ${modelName(encoder.info)} · ${takes(encoder.info)}`;
    if (!this.#rest) factsLine.textContent = facts(encoder);
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
