// Shows the progress of a load.

import { duration, megabytes } from "../../lib/shared/units.js";
import { elementById } from "../shell/elements.js";

/** @import { Progress } from "../../clip.js" */

const bar = elementById("model-bar", HTMLProgressElement);
/** The second line of the model's line. */
const facts = elementById("model-facts", HTMLElement);

/** @param {Progress} progress */
export function showProgress({ loaded, total, bytesPerSecond, secondsLeft }) {
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
  facts.textContent = parts.join(" · ");
  bar.classList.remove("absent");
}

export function hideProgress() {
  bar.classList.add("absent");
}
