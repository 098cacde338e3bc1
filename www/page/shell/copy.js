// Copies a text, and says so on the button that was pressed.

import { newElement } from "./elements.js";

/** Milliseconds for which the button says so. */
const SAID = 2000;

/** Buttons that say so now, with their own labels. @type {WeakMap<HTMLButtonElement, { label: string, timer: ReturnType<typeof setTimeout> }>} */
const pressed = new WeakMap();

/**
 * @param {HTMLButtonElement} button
 * @param {string} text
 * @param {() => void} [select] selects the text on the page, for browsers that copy nothing else
 */
export async function copyText(button, text, select) {
  const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  say(button, isCopied || copySelected(text, select) ? "Copied" : "Not copied");
}

/**
 * Without a secure context, or without permission.
 * @param {string} text
 * @param {() => void} [select]
 */
function copySelected(text, select) {
  if (select) {
    select();
    return document.execCommand("copy");
  }
  const field = newElement("textarea", { class: "unseen" }, text);
  document.activeElement?.after(field); // beside the button, because a modal dialog lets nothing outside be selected
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  return isCopied;
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
function say(button, text) {
  const before = pressed.get(button);
  clearTimeout(before?.timer);
  const label = before?.label ?? button.textContent ?? "";
  button.textContent = text;
  const timer = setTimeout(() => {
    button.textContent = label;
    pressed.delete(button);
  }, SAID);
  pressed.set(button, { label, timer });
}
