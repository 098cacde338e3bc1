// Loads what is chosen: a model anew, or what one in use lacks of it.

import { ClipEncoder, ClipError } from "../../clip.js";
import { TOWERS } from "../../lib/shared/towers.js";

/** @import { LoadOptions, Tower } from "../../clip.js" */
/** @import { Choice } from "./choice.js" */

/** @typedef {Pick<LoadOptions, "ignoreMemory" | "signal" | "onProgress" | "onWarning">} Options */

/** Codes of errors after which the model must be loaded anew. */
const ANEW = ["missing_tower", "encoder_lost", "closed"];

/**
 * Resolves as soon as texts can be embedded, if the model embeds them; images may follow: see `loaded`.
 * @param {Choice} choice
 * @param {ClipEncoder | null} inUse an encoder of the same model that may lack a tower; only that one is loaded then
 * @param {Options} options
 * @returns {Promise<ClipEncoder>} the one in use, or another
 */
export async function loadChoice({ source, size, sha256, mirrors, towers }, inUse, options) {
  if (inUse && (await loadFurther(inUse, towers ?? TOWERS, options))) return inUse;
  return ClipEncoder.load(source, { size, sha256, mirrors, towers, first: towers ? undefined : "text", ...options });
}

/**
 * @param {ClipEncoder} encoder
 * @param {Tower[]} towers
 * @param {Options} options
 * @returns {Promise<boolean>} false if they cannot be added to this encoder: its file lacks one (on the Hub, another may
 *   have it) or has changed, or the encoder has ended
 */
async function loadFurther(encoder, towers, options) {
  try {
    await encoder.loadTowers(towers, options);
    return true;
  } catch (error) {
    if (error instanceof ClipError && ANEW.includes(error.code)) return false;
    throw error;
  }
}
