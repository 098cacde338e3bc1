// What files and calls may ask for at most: docs/limits.md says why so much. Most are the wasm module's to check; what
// is copied into its memory is checked here, before it is.

import { ClipError } from "./error.js";

/** @import { Bindings } from "../engine/start-wasm.js" */

/** As in src/limits.rs; a test holds the two together. */
export const LIMITS = /** @type {const} */ ({
  /** Pixels of an image. */
  pixels: 120_000_000,
  /** Bytes of an image's file. */
  imageBytes: 480_000_000,
  /** Bytes of memory that a decoder takes for an image, with the image that it gives. */
  decodeBytes: 1_200_000_000,
  /** Scans of a progressive JPEG. */
  jpegScans: 64,
  /** Bytes of a text, in UTF-8. */
  textBytes: 1_000_000,
  /** Bytes of what stands before a model file's tensors. */
  headerBytes: 16_777_216,
  /** Values in a model's metadata, every token and merge of its vocabulary among them. */
  metadataValues: 1_000_000,
  /** Tensors of a model file. */
  tensors: 10_000,
  /** Bytes of memory that a model's weights take. */
  weightBytes: 4_294_967_296,
  /** Blocks of a tower. */
  layers: 256,
  /** Values of a token or a patch between the layers. */
  width: 16_384,
  /** Values between the two layers of an MLP. */
  feedForward: 65_536,
  /** Components of an embedding. */
  projection: 16_384,
  /** Tokens of a vocabulary. */
  vocabulary: 500_000,
  /** Bytes of a vocabulary's token. */
  tokenBytes: 256,
  /** Tokens of a text that a model reads. */
  contextTokens: 4096,
  /** The edge of the square that a model reads, in pixels. */
  imageSize: 2048,
  /** Patches that an image is cut into. */
  patches: 4096,
  /** Bytes of a file of JSON beside a checkpoint's weights. */
  jsonBytes: 33_554_432,
  /** Files that a checkpoint's weights are in. */
  files: 100,
});

/** @typedef {{ -readonly [name in keyof typeof LIMITS]?: number }} LimitOptions those that are not the default ones */

/**
 * @param {LimitOptions} limits
 * @returns {LimitOptions} a copy
 */
export function requireLimits(limits) {
  if (limits === null || typeof limits !== "object") throw new ClipError("invalid_input", "limits is not an object of names and numbers");
  for (const [name, most] of Object.entries(limits)) {
    if (!Object.hasOwn(LIMITS, name)) {
      throw new ClipError("invalid_input", `there is no limit "${name}"; one of ${Object.keys(LIMITS).join(", ")}`);
    }
    if (!Number.isSafeInteger(most) || most < 0) {
      throw new ClipError("invalid_input", `the limit ${name} is ${most}, not a whole number from 0 on`);
    }
  }
  return { ...limits };
}

/**
 * Refuses what the module would refuse too, but after it had been read or copied.
 * @param {"imageBytes" | "textBytes" | "jsonBytes" | "files"} name
 * @param {number} asked
 * @param {string} what
 * @param {LimitOptions} limits
 */
export function checkLimit(name, asked, what, limits) {
  const most = limits[name] ?? LIMITS[name];
  if (asked <= most) return;
  const code = name === "imageBytes" ? "image_too_large" : "limit_exceeded";
  throw new ClipError(code, `${what}: ${asked} are more than the limit of ${most}; raise the limit ${name} if you trust its source`);
}

/**
 * Refuses what there is no memory for: to copy it into the module would end that.
 * @param {Bindings} bindings
 * @param {number} bytes
 */
export function requireRoom(bindings, bytes) {
  if (bindings.hasRoom(bytes)) return;
  throw new ClipError("low_memory", `there is no memory for ${bytes} bytes more; close other pages, or use a smaller model or image`);
}

/**
 * @param {Bindings} bindings
 * @param {LimitOptions} limits
 */
export function limitsOf(bindings, limits) {
  const all = new bindings.Limits();
  for (const [name, most] of Object.entries(limits)) all.set(name, most);
  return all;
}
