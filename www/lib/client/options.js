// The options of the public methods: their types, their defaults and what they may be.

import { ClipError } from "../shared/error.js";
import { absoluteUrl, requireChoice, requireTowers } from "./inputs.js";
import { requireLimits } from "../shared/limits.js";
import { environment } from "../shared/environment.js";
/** @import { LimitOptions, LoadParams, Progress, Tower, Warning } from "../shared/protocol.js" */


/**
 * @typedef {object} LoadOptions
 * @property {Tower[]} [towers] only these, where a text or an image is all that is to be embedded: where the
 *   server gives parts of a file, no more is fetched. Both, or those that the file has, if absent
 * @property {Tower} [first] the tower that is to come first, where both are loaded: the encoder is given as soon as
 *   it has come, the other goes on loading, calls that need it wait, and {@link ClipEncoder.loaded} tells its end
 * @property {string} [type] that a checkpoint is converted to: `q8_0` if absent, or f32, f16, q5_1, q5_0, q4_1, q4_0
 * @property {"gelu" | "quick_gelu"} [activation] of a checkpoint whose configuration does not tell, or is wrong
 * @property {number} [size] bytes of the file, for progress where the server does not tell
 * @property {string} [sha256] of the file, in hexadecimal: what differs is refused and not kept
 * @property {(string | URL)[]} [mirrors] further addresses of the same file, asked in turn when the one before fails
 * @property {boolean} [keep] whether to keep what comes from a URL for the next visit, which is the default where there
 *   is a place for it: not in Node, and not on a page opened from a disk
 * @property {number} [idleTimeout] milliseconds without a byte after which a connection is taken up anew; 20 s if
 *   absent
 * @property {boolean} [ignoreMemory] whether to load what this device is not likely to have memory for
 * @property {LimitOptions} [limits] what the model, and every image and text it is given, may ask for at most, where
 *   not the defaults: `{ pixels: 200_000_000 }`. docs/limits.md has them all. What exceeds one fails with
 *   `image_too_large` or `limit_exceeded`
 * @property {(progress: Progress) => void} [onProgress]
 * @property {(warning: Warning) => void} [onWarning] told what went wrong where the model runs all the same: that it is
 *   not kept (`not_kept`), or, as long as the encoder lives, that its worker had to be replaced (`worker_replaced`). It
 *   is printed to the console if absent
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} EmbedOptions
 * @property {boolean} [normalize] to unit length (L2), which is the default; otherwise the raw projection
 * @property {(progress: EmbedProgress) => void} [onProgress] told after each input
 * @property {AbortSignal} [signal]
 */

/** @typedef {{ done: number, total: number }} EmbedProgress in inputs */

/**
 * What the references disagree on. The defaults are those of Pillow's `convert("RGB")` and transformers' `load_image`.
 * @typedef {object} ImageOptions
 * @property {"exif" | "ignore"} [orientation] whether an image is turned as its EXIF or XMP says, which is the
 *   default, or taken as it is stored; a TIFF is always turned
 * @property {"drop" | "white" | "black"} [alpha] whether transparency is dropped, which is the default, so that the
 *   colour beneath shows, or laid over white or black
 */

/**
 * @typedef {object} ClassifyOptions
 * @property {string | string[] | null} [template] the text that stands for a label, with `{}` where the label goes:
 *   "a photo of a {}" if absent. Of several the mean of their vectors counts. `null` takes labels as whole texts
 * @property {number} [logitScale] what cosines are multiplied by before the softmax; the model's own if absent
 * @property {(progress: EmbedProgress) => void} [onProgress] told after each text and each image
 * @property {AbortSignal} [signal]
 */

/** Of many cores some are slow and some are wanted elsewhere, and what cannot be shared comes to weigh more. */
const MOST_THREADS = 8;

export function defaultThreads() {
  return Math.min(environment.cores(), MOST_THREADS);
}

/**
 * @param {string | Blob | File[]} source
 * @param {number} threads
 * @param {LoadOptions} options
 * @returns {LoadParams}
 */
export function loadParams(source, threads, { type = "q8_0", activation, towers, first, size, sha256, mirrors = [], keep = environment.keeps(), idleTimeout = 20_000, ignoreMemory = false, limits = {} }) {
  if (towers !== undefined) requireTowers(towers);
  if (first !== undefined) requireTowers([first]);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new ClipError("invalid_input", "sha256 is not 64 hexadecimal digits");
  }
  return {
    source,
    threads,
    type,
    activation,
    towers,
    first,
    size,
    sha256: sha256?.toLowerCase(),
    mirrors: mirrors.map(absoluteUrl),
    keep: keep && typeof source === "string",
    idleTimeout,
    ignoreMemory,
    limits: requireLimits(limits),
  };
}

/**
 * How each image is read and embedded.
 * @param {EmbedOptions & ImageOptions} options
 */
export function imageParams({ normalize = true, orientation = "exif", alpha = "drop" }) {
  requireChoice("orientation", orientation, ["exif", "ignore"]);
  requireChoice("alpha", alpha, ["drop", "white", "black"]);
  return { normalize, orientation, alpha };
}
