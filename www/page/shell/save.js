// Gives the user a file that the page has made.

import { newElement } from "./elements.js";

/**
 * @param {string} name of the file
 * @param {string} type MIME
 * @param {BlobPart[]} parts
 */
export function save(name, type, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  newElement("a", { href: url, download: name }).click();
  // Not before the browser has read it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
