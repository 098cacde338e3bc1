// The page: the model panel, the views below it, and what concerns them all: the shortcut, drops, pastes.

import { elementById } from "./page/shell/elements.js";
import { EmbedView } from "./page/embed/view.js";
import { ModelPanel } from "./page/model/view.js";
import { installServiceWorker } from "./page/shell/service-worker.js";
import { Views } from "./page/shell/views.js";

const model = new ModelPanel();
const embed = new EmbedView(model);
const views = new Views({
  embed: () => embed,
  search: async () => new (await import("./page/search/view.js")).SearchView(model),
  check: async () => new (await import("./page/check/view.js")).CheckView(model),
});

listenForShortcut();
listenForDrops();
listenForPaste();
installServiceWorker(model);
document.getElementById("not-started")?.remove(); // see page/shell/start.js

function listenForShortcut() {
  const isMac = /mac|iphone|ipad/i.test(navigator.userAgent);
  if (isMac) elementById("shortcut", HTMLElement).textContent = "⌘ ↵";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (views.current === embed) embed.runAndReveal();
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
    // Only when the pointer leaves the window, not when it moves from one element to the next.
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer) take(event.dataTransfer);
  });
}

function listenForPaste() {
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData);
  });
}

/**
 * Passes a model's files to the model panel, and other files to the current view.
 * @param {DataTransfer} transfer
 */
function take(transfer) {
  const isModel = (/** @type {File} */ file) => /\.(gguf|safetensors|bin|json)$/i.test(file.name);
  const files = [...transfer.files];
  views.current?.take?.(files.filter((file) => !isModel(file)), transfer);
  const modelFiles = files.filter(isModel);
  if (modelFiles.length > 0) model.loadFiles(modelFiles);
}
