// Where the page's own files are: beside it, or inside it if the page is a single file.

export const SITE = new URL("../../", import.meta.url);

/** @type {Map<string, string>} URLs, by path */
const embedded = new Map();

/**
 * Registers a file that is inside the page.
 * @param {string} path relative to the page
 * @param {string} address
 */
export function embed(path, address) {
  embedded.set(path, address);
}

/** Whether the page is a single file, with nothing beside it. */
export function isSingleFile() {
  return embedded.size > 0;
}

/**
 * @param {string} path relative to the page, or an absolute URL
 * @returns {string} absolute
 */
export function addressOf(path) {
  return embedded.get(path) ?? new URL(path, SITE).href;
}
