// An error, said where it happened.

import { errorJson } from "../clip.js";

/**
 * Shows `error` in `place`, or clears it. An abort is what the user wanted, so it is not shown.
 * @param {Element} place
 * @param {unknown} [error]
 */
export function showError(place, error) {
  place.replaceChildren();
  if (!error) return;
  const { code, message } = errorJson(error).error;
  if (code === "aborted") return;
  const note = document.createElement("p");
  note.className = "error";
  note.setAttribute("role", "alert");
  const codeElement = document.createElement("code");
  codeElement.textContent = code;
  note.append(message, " ", codeElement);
  place.append(note);
}
