// Shows an error in the place where it happened.

import { errorJson } from "../../clip.js";
import { newElement } from "./elements.js";

/**
 * Shows `error` in `place`, or clears it. An abort is not shown, because the user asked for it.
 * @param {Element} place
 * @param {unknown} [error]
 */
export function showError(place, error) {
  place.replaceChildren();
  if (!error) return;
  const { code, message } = errorJson(error).error;
  if (code === "aborted") return;
  place.append(newElement("p", { class: "error", role: "alert" }, message, " ", newElement("code", {}, code)));
}
