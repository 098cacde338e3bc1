// Limits on what files and calls may ask for; docs/limits.md gives the reasons. The wasm module checks most of them.
// The size of anything that is copied into its memory is checked here first.

import { ClipError } from "./error.js";
/** @import { LimitOptions } from "./protocol.js" */


/**
 * The defaults, as in src/limits.rs; a test compares the two.
 * @type {Readonly<Required<LimitOptions>>}
 */
export const LIMITS = {
  pixels: 120_000_000,
  imageBytes: 480_000_000,
  decodeBytes: 1_200_000_000,
  jpegScans: 64,
  textBytes: 1_000_000,
  headerBytes: 16_777_216,
  metadataValues: 1_000_000,
  tensors: 10_000,
  weightBytes: 4_294_967_296,
  layers: 256,
  width: 16_384,
  feedForward: 65_536,
  projection: 16_384,
  vocabulary: 500_000,
  tokenBytes: 256,
  contextTokens: 4096,
  imageSize: 2048,
  patches: 4096,
  jsonBytes: 67_108_864,
  files: 100,
};

/**
 * @param {LimitOptions} limits
 * @returns {LimitOptions} a copy
 */
export function requireLimits(limits) {
  if (limits === null || typeof limits !== "object") throw new ClipError("invalid_input", "limits is not an object of names and numbers");
  for (const [name, most] of Object.entries(limits)) {
    if (!Object.hasOwn(LIMITS, name)) {
      throw new ClipError("invalid_input", `there is no limit "${name}"; the limits are ${Object.keys(LIMITS).join(", ")}`);
    }
    if (!Number.isSafeInteger(most) || most < 0) {
      throw new ClipError("invalid_input", `the limit ${name} is ${most}; it must be a whole number, 0 or more`);
    }
  }
  return { ...limits };
}

/**
 * Refuses a size that the module would refuse too, but only after everything was read or copied.
 * @param {"imageBytes" | "textBytes" | "jsonBytes" | "files"} name
 * @param {number} asked
 * @param {string} what of which these are so many, such as `bytes of a text`
 * @param {LimitOptions} limits
 */
export function checkLimit(name, asked, what, limits) {
  const most = limits[name] ?? LIMITS[name];
  if (asked <= most) return;
  const code = name === "imageBytes" ? "image_too_large" : "limit_exceeded";
  const instead = name === "imageBytes" ? "scale it down first" : "use another";
  throw new ClipError(code, `${asked} ${what} are more than the limit of ${most}; ${instead}, or raise the limit ${name} if you trust its source`);
}
