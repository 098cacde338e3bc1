// A text or an image on the page: as it is entered, and as it has been embedded.

/** @import { ClipEncoder, Embeddings, EmbedOptions } from "../../clip.js" */
/** @import { Timings } from "./report.js" */

/**
 * A text or an image on the page. Each is embedded by its own call, so that one that fails does not affect the others.
 * @typedef {object} Input
 * @property {"text" | "image"} kind
 * @property {string} source the text, or the image's name
 * @property {string} [picture] the URL of an image
 * @property {"sample" | "drawing" | null} [slot] of an image: `null` for the user's own
 * @property {boolean} [isRemoved] of an image: whether the user has removed it meanwhile
 * @property {(encoder: ClipEncoder, options: EmbedOptions & { onTimings: (timings: Timings) => void }) => Promise<Embeddings>} embed
 * @property {(state: "idle" | "busy" | "done" | "failed", error?: unknown) => void} show
 */

/**
 * @typedef {object} Embedded an input with its vector
 * @property {"text" | "image"} kind
 * @property {string} source the text, or the image's name
 * @property {string} [picture] the URL of an image
 * @property {number[]} vector
 * @property {Timings | null} timings where its time went
 * @property {number} milliseconds
 */

/**
 * @param {Pick<Embedded, "kind" | "source">} input
 * @returns {string} a text in quotes, or the image's name
 */
export function label({ kind, source }) {
  return kind === "text" ? `“${source}”` : source;
}
