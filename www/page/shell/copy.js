// Copies a text, and says so on the button that was pressed.

/** Milliseconds for which the button says so. */
const SAID = 2000;

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
  const label = (button.dataset.label ??= button.textContent ?? "");
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), SAID);
}
