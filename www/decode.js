// Images that only the browser decodes (AVIF, HEIC, …): file bytes -> RGBA pixels.

/**
 * @typedef {{ rgba: Uint8Array, width: number, height: number }} Pixels
 *   `rgba` is [height, width, 4], row by row, alpha not premultiplied
 */

/**
 * @param {Blob} image
 * @returns {Promise<Pixels | null>} null for what this browser cannot decode either
 */
export async function decodeInBrowser(image) {
  let bitmap;
  try {
    // Pixels as the file has them: no colour management, as the Python reference does none.
    bitmap = await createImageBitmap(image, {
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    });
  } catch {
    return null;
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { rgba: new Uint8Array(data.buffer), width, height };
}
