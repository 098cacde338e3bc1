// What an input is called on the page.

/** @import { Embedded } from "../embed/result.js" */

/**
 * @param {Pick<Embedded, "kind" | "source">} input
 * @returns {string} a text in quotes, or the image's name
 */
export function label({ kind, source }) {
  return kind === "text" ? `“${source}”` : source;
}
