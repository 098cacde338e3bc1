// The page: gathers the inputs, embeds them one by one, and shows each result where it belongs.

import { ClipError, errorJson } from "./clip.js";
import { DrawingPad } from "./page/drawing.js";
import { elementById } from "./page/elements.js";
import { ImageList } from "./page/images.js";
import { ModelPanel } from "./page/model.js";
import { showError } from "./page/notice.js";
import { ResultPanel } from "./page/result.js";
import { SampleStrip } from "./page/samples.js";
import { TextList } from "./page/texts.js";

/** @import { ClipEncoder, Embeddings, EmbedOptions } from "./clip.js" */
/** @import { Embedded } from "./page/result.js" */

/**
 * A text or an image on the page. Each is embedded by itself, so that one that fails costs no other.
 * @typedef {object} Input
 * @property {"text" | "image"} kind
 * @property {string} label
 * @property {string} [picture] the URL of an image
 * @property {"sample" | "drawing" | null} [slot] of an image: `null` for the user's own
 * @property {(encoder: ClipEncoder, options: EmbedOptions) => Promise<Embeddings>} embed
 * @property {(state: "idle" | "busy" | "done" | "failed", error?: unknown) => void} show
 */

const form = elementById("inputs", HTMLFormElement);
const normalize = elementById("normalize", HTMLInputElement);
const stopButton = elementById("stop", HTMLButtonElement);
const runState = elementById("run-state", HTMLElement);
const runError = elementById("run-error", HTMLElement);

const model = new ModelPanel();
const texts = new TextList();
const images = new ImageList((slot) => {
  if (slot === "drawing") drawing.clear();
});
const samples = new SampleStrip(({ file, captions }) => {
  images.put("sample", file);
  texts.suggest(captions);
  runUnasked();
});
const drawing = new DrawingPad({
  onOpen: () => texts.suggest(samples.drawingCaptions),
  onChange: (picture) => {
    images.put("sample", null);
    images.put("drawing", picture);
    runUnasked();
  },
});
const result = new ResultPanel();

/** @type {AbortController | null} of the run that is on */
let running = null;
/** Whether the inputs have changed since, and are to be embedded too. */
let again = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  runAndReveal();
});
stopButton.addEventListener("click", () => {
  again = false;
  running?.abort();
});
listenForShortcut();
listenForDrops();
listenForPaste();
samples.open();
installServiceWorker();

/** What Embed does. */
async function runAndReveal() {
  if (running) return;
  if (await run()) result.reveal();
}

/** Keeps the result up with a sample or a drawing, where that costs no download. */
async function runUnasked() {
  if (running) {
    again = true;
    return;
  }
  const atHand = await model.isAtHand();
  if (running) again = true; // since it was looked at
  if (running || !atHand) return;
  if (texts.inputs().length + images.inputs().length > 0) await run();
}

/**
 * Texts first, then images, as the command line has it.
 * @returns {Promise<boolean>} whether there is something new to see
 */
async function run() {
  showError(runError);
  const inputs = [...texts.inputs(), ...images.inputs()];
  if (inputs.length === 0) {
    showError(runError, new ClipError("empty_input", "nothing to embed yet: type a text or add an image"));
    return false;
  }
  running = new AbortController();
  stopButton.hidden = false;
  try {
    runState.textContent = "Loading the model…";
    const encoder = await untilAborted(model.encoder(), running.signal);
    return await embedAll(encoder, inputs, running.signal);
  } catch (error) {
    showError(runError, error);
    return false;
  } finally {
    running = null;
    stopButton.hidden = true;
    runState.textContent = "";
    if (again) {
      again = false;
      runUnasked();
    }
  }
}

/**
 * @param {ClipEncoder} encoder
 * @param {Input[]} inputs
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether there is something new to see
 */
async function embedAll(encoder, inputs, signal) {
  /** @type {Embedded[]} */
  const embedded = [];
  /** @type {unknown[]} */
  const errors = [];
  let foreign = false;
  for (const [index, input] of inputs.entries()) {
    runState.textContent = `Embedding ${index + 1} of ${inputs.length}…`;
    input.show("busy");
    const start = performance.now();
    try {
      const { data } = await input.embed(encoder, { normalize: normalize.checked, signal });
      const { kind, label, picture } = input;
      const vector = /** @type {number[]} */ (data[0]);
      embedded.push({ kind, label, picture, vector, milliseconds: performance.now() - start });
      foreign ||= input.slot === null;
      input.show("done");
    } catch (error) {
      if (signal.aborted) {
        input.show("idle");
        break;
      }
      input.show("failed", error);
      errors.push(error);
      if (errorJson(error).error.code === "worker_failed") {
        model.forget();
        break;
      }
    }
  }
  const caution = foreign ? model.limits : "";
  if (embedded.length) result.show(embedded, encoder, { failures: errors.length, caution });
  else if (errors.length) result.showError(errorJson(errors[0]));
  return embedded.length + errors.length > 0;
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function untilAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new ClipError("aborted", "stopped")));
    promise.then(resolve, reject);
  });
}

/** From the next visit on the page needs no network, and is isolated where its host does not see to it: see sw.js. */
async function installServiceWorker() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(new URL("sw.js", import.meta.url));
  } catch (error) {
    console.warn(`the page needs a network at every visit, and stays without threads: ${error}`);
  }
}

function listenForShortcut() {
  const isMac = /mac|iphone|ipad/i.test(navigator.userAgent);
  if (isMac) elementById("shortcut", HTMLElement).textContent = "⌘ ↵";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    runAndReveal();
  });
}

function listenForDrops() {
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    // Leaving the window, not just passing from one element to the next.
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dragging");
    takeFiles([...(event.dataTransfer?.files ?? [])]);
  });
}

function listenForPaste() {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    takeFiles(files);
  });
}

/** @param {File[]} files images, or a model */
function takeFiles(files) {
  const isModel = (/** @type {File} */ file) => /\.(gguf|safetensors|json)$/i.test(file.name);
  images.add(files.filter((file) => !isModel(file)));
  const modelFiles = files.filter(isModel);
  if (modelFiles.length > 0) model.loadFiles(modelFiles);
}
