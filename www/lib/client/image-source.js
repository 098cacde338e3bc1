// What a caller gives as an image -> what the worker that reads pictures is sent: a file's bytes, a bitmap, or pixels.

import { absoluteUrl, requireList, typeOf } from "./inputs.js";
import { bytesOfDataUrl } from "../shared/data-url.js";
import { download, readBody } from "../shared/download.js";
import { environment } from "../shared/environment.js";
import { ClipError } from "../shared/error.js";
import { isBlob, isBytes, isUrl, kindOf } from "../shared/kinds.js";
import { checkLimit } from "../shared/limits.js";
import { untilAborted } from "../shared/waiting.js";

/** @import { LimitOptions, Picture, Pixels } from "../shared/protocol.js" */

/**
 * Pixels as they are in memory, such as those of an `ImageData`, or of sharp's `raw()`: rows from top to bottom, 4
 * values for each pixel (red, green, blue, alpha, not premultiplied), 3 (red, green, blue) or 1 (grey).
 * @typedef {{ data: Uint8ClampedArray | Uint8Array, width: number, height: number }} RawPixels
 */

/**
 * An image's file, by its URL (in Node also a path), its bytes or a stream of them; or its pixels, from an element or
 * an object that has some.
 * @typedef {string | URL | Blob | Uint8Array | ArrayBuffer | DataView | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | Response
 *   | FileSystemFileHandle | ImageData | RawPixels | CanvasImageSource} ImageSource
 */

/** Kinds whose pixels `createImageBitmap` takes. */
const DRAWABLE = ["HTMLCanvasElement", "OffscreenCanvas", "HTMLVideoElement", "SVGImageElement", "VideoFrame"];

/** @param {unknown} images */
export function requireImages(images) {
  requireList(images, isImageSource, "a File, a Blob, a URL, bytes, a canvas, an image element, an ImageBitmap, an ImageData or another object with data, width and height");
}

/** @param {unknown} input */
function isImageSource(input) {
  if (typeof input === "string" || isUrl(input) || isBlob(input) || isBytes(input)) return true;
  if ([...DRAWABLE, "DataView", "FileSystemFileHandle", "HTMLImageElement", "ImageBitmap", "ReadableStream", "Response"].includes(kindOf(input))) return true;
  return isStream(input) || hasPixels(input);
}

/**
 * @param {ImageSource} source
 * @param {LimitOptions} limits
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<Picture>} bytes and pixels are copies, so that later changes to the caller's have no effect
 */
export async function openImage(source, limits, signal) {
  if (isBlob(source)) return environment.sendable(source);
  if (isBytes(source)) return new Uint8Array(source).slice();
  if (typeof source === "string" || isUrl(source)) return openUrl(String(source), limits, signal);
  if (hasPixels(source)) return pixelsOf(source);
  const check = (/** @type {number} */ bytes) => checkLimit("imageBytes", bytes, "bytes of an image's file", limits);
  const kind = kindOf(source);
  if (kind === "ImageBitmap") return /** @type {ImageBitmap} */ (source);
  if (DRAWABLE.includes(kind)) return draw(/** @type {ImageBitmapSource} */ (source));
  if (kind === "HTMLImageElement") return openElement(/** @type {HTMLImageElement} */ (source), limits, signal);
  if (kind === "FileSystemFileHandle") return openHandle(/** @type {FileSystemFileHandle} */ (source));
  if (kind === "Response") return openResponse(/** @type {Response} */ (source), check, signal);
  if (kind === "DataView") {
    const { buffer, byteOffset, byteLength } = /** @type {DataView} */ (source);
    return new Uint8Array(buffer, byteOffset, byteLength).slice();
  }
  return readStream(/** @type {ReadableStream<Uint8Array>} */ (source), check, signal);
}

/**
 * @param {string} source
 * @param {LimitOptions} limits
 * @param {AbortSignal | undefined} signal
 */
async function openUrl(source, limits, signal) {
  try {
    const bytes = bytesOfDataUrl(source);
    if (bytes) return bytes;
  } catch (cause) {
    throw new ClipError("invalid_input", `the base64 of the data: URL ${source.slice(0, 40)}… cannot be decoded`, { cause });
  }
  const url = absoluteUrl(source);
  const check = (/** @type {number} */ bytes) => checkLimit("imageBytes", bytes, `bytes of ${url}`, limits);
  return readBody(await download(url, { signal }), url, check, signal);
}

/**
 * The file of an `<img>`, whose pixels are then decoded exactly; or what the browser shows, if the file cannot be
 * fetched again or is a drawing.
 * @param {HTMLImageElement} element
 * @param {LimitOptions} limits
 * @param {AbortSignal | undefined} signal
 */
async function openElement(element, limits, signal) {
  await element.decode().catch((cause) => {
    throw new ClipError("corrupt_image", `the image element cannot show ${element.currentSrc || "anything: it has no src"}`, { cause });
  });
  try {
    const file = await openUrl(element.currentSrc, limits, signal);
    const isDrawing = isBlob(file) ? file.type.startsWith("image/svg") : /^data:image\/svg/i.test(element.currentSrc);
    if (!isDrawing) return file;
  } catch (error) {
    if (signal?.aborted || (error instanceof ClipError && error.code === "image_too_large")) throw error;
  }
  return draw(element);
}

/** @param {ImageBitmapSource} source */
async function draw(source) {
  try {
    return await createImageBitmap(source, { colorSpaceConversion: "none" });
  } catch (cause) {
    throw new ClipError("unsupported_image", `the ${kindOf(source)} has no pixels that can be read now: is it empty, not loaded or closed? (${cause})`, { cause });
  }
}

/** @param {FileSystemFileHandle} handle */
async function openHandle(handle) {
  return handle.getFile().catch((cause) => {
    throw new ClipError("io", `${handle.name} cannot be read: has it been moved, or may this page not read it?`, { cause });
  });
}

/**
 * @param {Response} response
 * @param {(bytes: number) => void} check
 * @param {AbortSignal | undefined} signal
 */
async function openResponse(response, check, signal) {
  if (!response.ok) throw new ClipError("http_status", `${response.url} answered ${response.status}`, { cause: response });
  if (response.bodyUsed) throw new ClipError("invalid_input", "the body of the Response has been read already; pass response.clone(), or what was read");
  return readBody(response, response.url, check, signal);
}

/**
 * @param {AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>} stream
 * @param {(bytes: number) => void} check
 * @param {AbortSignal | undefined} signal
 */
async function readStream(stream, check, signal) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of chunksOf(stream, signal)) {
      if (!isBytes(chunk)) throw new ClipError("invalid_input", `a chunk of the stream is ${typeOf(chunk)}, not bytes; read it without an encoding`);
      const bytes = new Uint8Array(chunk).slice();
      size += bytes.length;
      check(size);
      chunks.push(bytes);
    }
  } catch (cause) {
    if (cause instanceof ClipError) throw cause;
    throw new ClipError("io", `the stream of an image failed after ${size} bytes: ${cause}`, { cause });
  }
  return new Blob(chunks);
}

/**
 * @param {AsyncIterable<unknown> | ReadableStream<unknown>} stream
 * @param {AbortSignal | undefined} signal that also ends the waiting for a chunk: a stream can be silent for ever
 * @returns {AsyncGenerator<unknown, void, void>}
 */
async function* chunksOf(stream, signal) {
  const { read, end } = readerOf(stream);
  try {
    for (;;) {
      const { done, value } = await untilAborted(read(), signal);
      if (done) return;
      yield value;
    }
  } finally {
    end().catch(() => {}); // not awaited: a silent stream may not answer this either
  }
}

/**
 * @param {AsyncIterable<unknown> | ReadableStream<unknown>} stream
 * @returns {{ read: () => Promise<{ done?: boolean, value?: unknown }>, end: () => Promise<unknown> }}
 */
function readerOf(stream) {
  // Not every browser can iterate a ReadableStream.
  if ("getReader" in stream) {
    const reader = stream.getReader();
    return { read: () => reader.read(), end: () => reader.cancel() };
  }
  const iterator = stream[Symbol.asyncIterator]();
  const end = async () => {
    // Streams of Node: their iterators end only after the next chunk.
    if ("destroy" in stream && typeof stream.destroy === "function") stream.destroy();
    await iterator.return?.();
  };
  return { read: async () => iterator.next(), end };
}

/**
 * @param {unknown} value
 * @returns {value is AsyncIterable<Uint8Array>}
 */
function isStream(value) {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

/**
 * @param {unknown} value
 * @returns {value is RawPixels}
 */
function hasPixels(value) {
  return typeof value === "object" && value !== null && "data" in value && "width" in value && "height" in value;
}

/**
 * @param {RawPixels} pixels
 * @returns {Pixels}
 */
function pixelsOf({ data, width, height }) {
  if (!["Uint8ClampedArray", "Uint8Array"].includes(kindOf(data))) {
    throw new ClipError("invalid_input", `the data of pixels is ${typeOf(data)}, not a Uint8ClampedArray or a Uint8Array: values from 0 to 255 are needed`);
  }
  const count = width * height;
  const channels = data.length / count;
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0) || ![1, 3, 4].includes(channels)) {
    throw new ClipError("invalid_input", `${data.length} values are not the pixels of an image of ${width} x ${height}: each pixel has 1, 3 or 4 of them`);
  }
  if (channels === 4) return { data: Uint8ClampedArray.from(data), width, height };
  const rgba = new Uint8ClampedArray(4 * count).fill(255);
  for (let at = 0; at < count; at++) {
    for (let channel = 0; channel < 3; channel++) rgba[4 * at + channel] = Number(data[channels === 1 ? at : 3 * at + channel]);
  }
  return { data: rgba, width, height };
}
