// Where the page's own files are: beside it, or in it where the page is a single file.

const SITE = new URL("../../", import.meta.url);

/** @type {Map<string, string>} addresses, by path */
const embedded = new Map();

/**
 * Says that a file is in the page.
 * @param {string} path from the page on
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
 * @param {string} path from the page on, or the address of something else
 * @returns {string} absolute
 */
export function addressOf(path) {
  return embedded.get(path) ?? new URL(path, SITE).href;
}
