// Copies a text, and says so on the button that was pressed.

/** Milliseconds for which the button says so. */
const SAID = 2000;

/** Buttons that say so now, with their own labels. @type {WeakMap<HTMLButtonElement, { label: string, timer: ReturnType<typeof setTimeout> }>} */
const pressed = new WeakMap();

/**
 * @param {HTMLButtonElement} button
 * @param {string} text
 * @param {() => void} [select] selects the text on the page, for browsers that allow nothing else
 */
export async function copyText(button, text, select = () => {}) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No secure context, or no permission.
    select();
    document.execCommand("copy");
  }
  const before = pressed.get(button);
  clearTimeout(before?.timer);
  const label = before?.label ?? button.textContent ?? "";
  button.textContent = "Copied";
  const timer = setTimeout(() => {
    button.textContent = label;
    pressed.delete(button);
  }, SAID);
  pressed.set(button, { label, timer });
}
