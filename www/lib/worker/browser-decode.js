// Decodes images in formats that only the browser can read (AVIF, HEIC, …): file bytes -> pixels.

import { ClipError } from "../shared/error.js";

/** @typedef {(bitmap: ImageBitmap) => ImageData | null | Promise<ImageData | null>} Reader */

/** A PNG of one pixel: red 200, green 100, blue 50, alpha 1. In base64. */
const FAINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mM4kWLECAAEtgFgJ6CDyQAAAABJRU5ErkJggg==";
const FAINT_PIXEL = [200, 100, 50, 1];

/**
 * @param {Blob} image
 * @param {"exif" | "ignore"} orientation whether to rotate the image as its container or its EXIF says
 * @param {"drop" | "white" | "black"} alpha what to do with transparency
 * @returns {Promise<ImageData | null>} not premultiplied; `null` if this browser cannot decode the image either
 * @throws {ClipError} `unsupported_image` if alpha is to be dropped and the browser does not give the colours of
 *   transparent pixels
 */
export async function decodeInBrowser(image, orientation, alpha) {
  let bitmap;
  try {
    bitmap = await open(image, orientation);
    const pixels = readCanvas(bitmap);
    if (!pixels || isOpaque(pixels)) return pixels;
    // A canvas multiplies colours by alpha, so the colours of nearly transparent pixels are lost.
    const read = await exactReader();
    const exact = await read?.(bitmap);
    if (exact) return exact;
    if (alpha !== "drop") return pixels;
  } catch {
    // The browser cannot decode the image, or it has more pixels than a canvas can have.
    return null;
  } finally {
    bitmap?.close();
  }
  const message = "this browser does not give the colours of this image's transparent pixels; save it as PNG, or set the option alpha to white or black";
  throw new ClipError("unsupported_image", message, { statusCode: 415 });
}

/**
 * The pixels of a bitmap that the page has made. Nothing tells whether its colours are multiplied by alpha, but it shows:
 * if they are not, an exact reader and a canvas read the same, but for what the canvas rounds.
 * @param {ImageBitmap} bitmap
 * @returns {Promise<ImageData | null>} not premultiplied; `null` if it is too large for a canvas
 */
export async function readBitmap(bitmap) {
  const pixels = readCanvas(bitmap);
  if (!pixels || isOpaque(pixels)) return pixels;
  const read = await exactReader();
  const exact = await read?.(bitmap);
  return exact && isRounded(pixels.data, exact.data) ? exact : pixels;
}

/**
 * @param {Uint8ClampedArray} rounded
 * @param {Uint8ClampedArray} exact
 * @returns {boolean} whether one is the other after a canvas has multiplied it by alpha and divided it again
 */
function isRounded(rounded, exact) {
  for (let at = 0; at < exact.length; at += 4) {
    const alpha = Number(exact[at + 3]);
    if (alpha !== rounded[at + 3]) return false;
    if (alpha === 0) continue;
    for (let channel = at; channel < at + 3; channel++) {
      if (Math.abs(Number(exact[channel]) - Number(rounded[channel])) > 128 / alpha + 0.5) return false;
    }
  }
  return true;
}

/**
 * @param {Blob} image
 * @param {"exif" | "ignore"} orientation
 */
function open(image, orientation) {
  // Pixels as they are in the file: no colour management, because the Python reference does none.
  return createImageBitmap(image, {
    imageOrientation: orientation === "ignore" ? "none" : "from-image",
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  });
}

/** @param {ImageData} pixels */
function isOpaque({ data }) {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return false;
  return true;
}

/** @type {Promise<Reader | null> | undefined} */
let chosen;

/** A way to read a bitmap's pixels without loss in this browser. */
function exactReader() {
  return (chosen ??= chooseReader().catch(() => null));
}

async function chooseReader() {
  const bytes = Uint8Array.from(atob(FAINT), (character) => character.charCodeAt(0));
  const faint = await open(new Blob([bytes]), "ignore");
  for (const read of [readTexture, readFrame]) {
    const pixels = await Promise.resolve(faint).then(read).catch(() => null);
    if (pixels && FAINT_PIXEL.every((level, at) => pixels.data[at] === level)) return read;
  }
  return null;
}

/** @type {(bitmap: ImageBitmap) => ImageData | null} */
function readCanvas(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** @type {Reader} */
function readTexture(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new ImageData(width, height);
  const bytes = new Uint8Array(pixels.data.buffer);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  const isRead = gl.getError() === gl.NO_ERROR;
  // Browsers allow only a few contexts at a time, and end the oldest.
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return isRead ? pixels : null;
}

/** @type {Reader} */
async function readFrame(bitmap) {
  const frame = new VideoFrame(bitmap, { timestamp: 0 });
  try {
    const pixels = new ImageData(bitmap.width, bitmap.height);
    await frame.copyTo(pixels.data, { format: "RGBA" });
    return pixels;
  } finally {
    frame.close();
  }
}
