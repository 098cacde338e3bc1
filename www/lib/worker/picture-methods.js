// The methods of a worker that reads pictures.

import { decodeInBrowser, readBitmap } from "./browser-decode.js";
import { Pictures } from "../engine/pictures.js";
import { ClipError, codeOf } from "../shared/error.js";
import { isBlob, isBytes, kindOf } from "../shared/kinds.js";
import { checkLimit } from "../shared/limits.js";

/** @import { Preparation, Prepared } from "../engine/pictures.js" */
/** @import { PictureMethods, PictureTimes, Pixels } from "../shared/protocol.js" */

/** @type {Promise<Pictures> | undefined} */
let starting;

/**
 * The module, fetched again if that failed.
 * @param {WebAssembly.Module} [given]
 */
function pictures(given) {
  starting ??= Pictures.start(given).catch((cause) => {
    starting = undefined;
    if (codeOf(cause) !== null) throw cause;
    const code = cause instanceof WebAssembly.CompileError ? "not_wasm" : "network";
    throw new ClipError(code, `the WebAssembly module that reads pictures does not start: ${cause}`, { cause });
  });
  return starting;
}

/** @returns {PictureMethods} */
export function pictureMethods() {
  return {
    async start({ module, early }) {
      const reader = await pictures(module);
      if (early) reader.warmUp();
      return reader.module;
    },

    async prepare({ image, ...how }, { onTimes }) {
      const reader = await pictures();
      const start = performance.now();
      if (isBlob(image) || isBytes(image)) {
        checkLimit("imageBytes", isBlob(image) ? image.size : image.length, "bytes of the image's file", how.limits);
        const bytes = isBlob(image) ? await readBlob(image) : image;
        const read = performance.now() - start;
        const { square, ...times } = await decoded(reader, bytes, how);
        onTimes({ read, ...times });
        return square;
      }
      const pixels = kindOf(image) === "ImageBitmap" ? await pixelsOf(/** @type {ImageBitmap} */ (image)) : /** @type {Pixels} */ (image);
      const read = performance.now() - start;
      const { square, decode, resize } = reader.preparePixels(pixels, how);
      onTimes({ read, decode, resize, decoder: null });
      return square;
    },
  };
}

/**
 * @param {Pictures} reader
 * @param {Uint8Array} bytes of a file
 * @param {Preparation} how
 * @returns {Promise<Prepared & Pick<PictureTimes, "decoder">>}
 */
async function decoded(reader, bytes, how) {
  try {
    return { ...reader.prepareFile(bytes, how), decoder: "wasm" };
  } catch (error) {
    // For a variant of a known format that our decoder does not support, no browser gives the same pixels as the
    // reference, so the error stands.
    if (codeOf(error) !== "unsupported_image" || reader.recognizes(bytes)) throw error;
    const start = performance.now();
    const pixels = await decodeInBrowser(new Blob([/** @type {BlobPart} */ (bytes)]), how.orientation, how.alpha);
    if (!pixels) throw notDecoded(/** @type {Error & { statusCode: number }} */ (error));
    const inBrowser = performance.now() - start;
    const { decode, ...rest } = reader.preparePixels(pixels, how);
    return { ...rest, decode: inBrowser + decode, decoder: "browser" };
  }
}

/** @param {ImageBitmap} bitmap */
async function pixelsOf(bitmap) {
  try {
    const pixels = await readBitmap(bitmap);
    if (pixels) return pixels;
  } finally {
    bitmap.close();
  }
  throw new ClipError("unsupported_image", `this browser does not give the pixels of a bitmap of ${bitmap.width} x ${bitmap.height}; make it smaller, or pass an ImageData`, { statusCode: 415 });
}

/**
 * @param {Error & { statusCode: number }} error of our decoder
 * @returns {Error} the same, which says that the browser was tried too if the file is an image
 */
function notDecoded(error) {
  if (!("createImageBitmap" in globalThis && error.message.includes("images are not supported"))) return error;
  const message = `${error.message}. The browser does not decode this one either: it does not know the format, or the file is damaged`;
  return new ClipError("unsupported_image", message, { statusCode: error.statusCode });
}

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array>}
 */
async function readBlob(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const name = blob instanceof File ? blob.name : "the image";
    throw new ClipError("io", `${name} cannot be read: has it been moved or changed?`, { cause });
  }
}
