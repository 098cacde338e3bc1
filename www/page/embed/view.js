// The Embed view: collects the inputs, embeds them one by one, and shows the results and the errors.

import { ClipError, errorJson } from "../../clip.js";
import { DrawingPad } from "./drawing.js";
import { untilAborted } from "../../lib/shared/waiting.js";
import { elementById } from "../shell/elements.js";
import { ImageList } from "./images.js";
import { showError } from "../shell/notice.js";
import { ResultPanel } from "./result.js";
import { SampleStrip } from "./samples.js";
import { TextList } from "./texts.js";

/** @import { ClipEncoder } from "../../clip.js" */
/** @import { ModelPanel } from "../model/view.js" */
/** @import { Embedded, Input } from "./input.js" */
/** @import { Timings } from "./report.js" */

const form = elementById("inputs", HTMLFormElement);
const normalize = elementById("normalize", HTMLInputElement);
const embedButton = elementById("embed", HTMLButtonElement);
const stopButton = elementById("stop", HTMLButtonElement);
const runState = elementById("run-state", HTMLElement);
const runError = elementById("run-error", HTMLElement);

export class EmbedView {
  #model;
  #texts = new TextList();
  #images = new ImageList({
    onAdd: () => {
      this.#dropUnasked();
      this.#runUnasked();
    },
    onRemove: (slot) => {
      if (slot === "drawing") this.#drawing.clear();
    },
  });
  /** Whether the sample that is shown is the one of the first visit, for which nobody has asked. */
  #isUnasked = false;
  #samples = new SampleStrip(({ file, captions }, isAsked) => {
    if (!isAsked && (this.#images.hasOwn || this.#texts.inputs().length > 0)) return;
    this.#isUnasked = !isAsked;
    this.#images.put("sample", file);
    this.#texts.suggest(captions);
    this.#runUnasked();
  });
  #drawing = new DrawingPad({
    onOpen: () => this.#texts.suggest(this.#samples.drawingCaptions),
    onChange: (picture) => {
      this.#isUnasked = false; // the texts are the drawing's now
      this.#images.put("sample", null);
      this.#images.put("drawing", picture);
      this.#runUnasked();
    },
  });
  #result = new ResultPanel();
  /** @type {AbortController | null} of the current run */
  #running = null;
  /** Whether another run must follow, because the inputs have changed since the run began, and whether it was asked for. */
  #again = { needed: false, asked: false };

  /** @param {ModelPanel} model */
  constructor(model) {
    this.#model = model;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.runAndReveal();
    });
    stopButton.addEventListener("click", () => {
      this.#again = { needed: false, asked: false };
      this.#running?.abort();
    });
    model.addEventListener("ready", () => this.#texts.showLanguage(model.knowsEnglishOnly));
    this.#samples.open();
  }

  /** @param {File[]} files pictures, dropped or pasted */
  take(files) {
    this.#images.add(files);
  }

  /** The user's own picture is not to be compared with the sample of the first visit. */
  #dropUnasked() {
    if (!this.#isUnasked) return;
    this.#isUnasked = false;
    this.#images.put("sample", null);
    this.#texts.dropSuggested();
  }

  /** @param {string[]} texts that another app shares with the page */
  takeTexts(texts) {
    this.#dropUnasked();
    this.#texts.add(texts);
    this.#runUnasked();
  }

  /** The action of the Embed button. */
  async runAndReveal() {
    if (this.#running) this.#again = { needed: true, asked: true };
    else if (await this.#run()) this.#result.reveal();
  }

  /** Updates the result after a new picture, if that needs no download. */
  async #runUnasked() {
    if (this.#running) {
      this.#again.needed = true;
      return;
    }
    const atHand = await this.#model.isAtHand();
    if (this.#running) this.#again.needed = true; // a run began while this waited
    else if (atHand && this.#texts.inputs().length + this.#images.inputs().length > 0) await this.#run();
    else runState.textContent = "";
  }

  /**
   * Embeds texts first, then images, in the same order as the command line.
   * @returns {Promise<boolean>} whether there is something new to see
   */
  async #run() {
    showError(runError);
    const inputs = [...this.#texts.inputs(), ...this.#images.inputs()];
    if (inputs.length === 0) {
      showError(runError, new ClipError("empty_input", "nothing to embed yet: type a text or add an image"));
      runState.textContent = "";
      return false;
    }
    this.#running = new AbortController();
    stopButton.classList.remove("absent");
    try {
      runState.textContent = "Loading the model…";
      const encoder = await untilAborted(this.#model.encoder(), this.#running.signal);
      return await this.#embedAll(encoder, inputs, this.#running.signal);
    } catch (error) {
      showError(runError, error);
      this.#again.asked = false; // a load that failed, or was cancelled, is not repeated unasked
      return false;
    } finally {
      this.#running = null;
      if (document.activeElement === stopButton) embedButton.focus();
      stopButton.classList.add("absent");
      const { needed, asked } = this.#again;
      this.#again = { needed: false, asked: false };
      if (asked) this.runAndReveal();
      else if (needed) this.#runUnasked();
      else runState.textContent = "";
    }
  }

  /**
   * @param {ClipEncoder} encoder
   * @param {Input[]} inputs
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether there is something new to see
   */
  async #embedAll(encoder, inputs, signal) {
    /** @type {(Embedded & { input: Input })[]} */
    const embedded = [];
    /** @type {unknown[]} */
    const errors = [];
    let foreign = false;
    for (const [index, input] of inputs.entries()) {
      if (input.isRemoved) continue;
      runState.textContent = `Embedding ${index + 1} of ${inputs.length}…`;
      input.show("busy");
      const start = performance.now();
      try {
        /** @type {Timings | null} */
        let timings = null;
        const onTimings = (/** @type {Timings} */ told) => (timings = told);
        const { data } = await input.embed(encoder, { normalize: normalize.checked, signal, onTimings });
        const { kind, source, picture } = input;
        const vector = /** @type {number[]} */ (data[0]);
        embedded.push({ kind, source, picture, vector, timings, input, milliseconds: performance.now() - start });
        foreign ||= input.slot === null;
        input.show("done");
      } catch (error) {
        if (signal.aborted) {
          input.show("idle");
          break;
        }
        input.show("failed", error);
        errors.push(error);
        if (errorJson(error).error.code === "encoder_lost") {
          this.#model.forget();
          this.#again.asked = false;
          break;
        }
      }
    }
    const caution = foreign ? this.#model.limits : "";
    const stayed = embedded.filter(({ input }) => !input.isRemoved);
    const stopped = signal.aborted ? `stopped after ${embedded.length} of ${inputs.length}` : "";
    if (stayed.length) this.#result.show(stayed, encoder, { failures: errors.length, stopped, caution, samples: this.#samples.pictures });
    else if (errors.length) this.#result.showError(errorJson(errors[0]));
    return embedded.length + errors.length > 0;
  }
}
