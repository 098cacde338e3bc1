// The progress of the indexing: its state, speed and time left, the button that pauses it, and the files that failed.

import { errorJson } from "../../clip.js";
import { elementById, newElement } from "../shell/elements.js";
import { duration } from "../../lib/shared/units.js";

/** @import { Indexing } from "./indexing.js" */

/** Failures that are listed: if a disk is removed, there can be thousands. */
const MOST_FAILURES = 50;

/** Kept, because making one takes longer than using it. */
const NUMBERS = new Intl.NumberFormat("en");

const state = elementById("search-state", HTMLElement);
const count = elementById("indexing-count", HTMLElement);
const pauseButton = elementById("indexing-pause", HTMLButtonElement);
const bar = elementById("indexing-bar", HTMLProgressElement);
const failures = elementById("search-failures", HTMLDetailsElement);
const failuresSummary = elementById("search-failures-summary", HTMLElement);
const failuresList = elementById("search-failures-list", HTMLUListElement);

export class IndexingProgress {
  #indexing;
  #failuresShown = 0;

  /** @param {Indexing} indexing */
  constructor(indexing) {
    this.#indexing = indexing;
    pauseButton.addEventListener("click", () => {
      if (indexing.state === "running") indexing.pause();
      else indexing.resume();
    });
  }

  /** @param {string} rest the text to show when nothing is being indexed */
  show(rest) {
    const { state: stage, total, done, speed } = this.#indexing;
    const running = stage === "running";
    // A live region, which screen readers read aloud: it only shows text that seldom changes.
    if (running) say(`Indexing ${pictures(total)}…`);
    else say(stage === "paused" ? `Paused, with ${pictures(total - done)} to go.` : rest);

    const parts = [];
    if (stage !== "idle") parts.push(`${NUMBERS.format(done)} of ${NUMBERS.format(total)}`);
    if (running && speed !== null) {
      parts.push(`${speed.toFixed(speed < 10 ? 1 : 0)} a second`, `${duration((total - done) / speed)} left`);
    }
    count.textContent = parts.join(" · ");
    pauseButton.textContent = running ? "Pause" : "Resume";
    bar.max = total || 1;
    bar.value = done;
    if (stage === "idle" && document.activeElement === pauseButton) state.focus(); // the button is about to be hidden
    for (const element of [pauseButton, bar]) element.classList.toggle("absent", stage === "idle");
    this.#showFailures();
  }

  #showFailures() {
    const { failures: failed } = this.#indexing;
    if (failed.size === this.#failuresShown) return;
    this.#failuresShown = failed.size;
    failures.hidden = failed.size === 0;
    failuresSummary.textContent = `${files(failed.size)} could not be indexed`;
    const listed = [...failed].slice(0, MOST_FAILURES);
    failuresList.replaceChildren(...listed.map(([path, error]) => failure(path, error)));
    if (failed.size > listed.length) {
      failuresList.append(newElement("li", {}, `and ${NUMBERS.format(failed.size - listed.length)} more`));
    }
  }
}

/** @param {string} text */
function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

/**
 * @param {string} path
 * @param {unknown} error
 */
function failure(path, error) {
  const { code, message } = errorJson(error).error;
  const name = newElement("span", { class: "name" }, path.replace(/^\//, ""));
  const reason = newElement("span", { class: "hint" }, message, " ", newElement("code", {}, code));
  return newElement("li", {}, name, reason);
}

/** @param {number} number */
export function pictures(number) {
  return number === 1 ? "1 picture" : `${NUMBERS.format(number)} pictures`;
}

/** @param {number} number */
function files(number) {
  return number === 1 ? "1 file" : `${NUMBERS.format(number)} files`;
}
