// Images that only the browser decodes (AVIF, HEIC, …): file bytes -> pixels.

/**
 * @param {Blob} image
 * @param {"exif" | "ignore"} orientation whether it is turned as its container or its EXIF says
 * @returns {Promise<ImageData | null>} not premultiplied; null for what this browser cannot decode either
 */
export async function decodeInBrowser(image, orientation) {
  try {
    // Pixels as the file has them: no colour management, as the Python reference does none.
    const bitmap = await createImageBitmap(image, {
      imageOrientation: orientation === "ignore" ? "none" : "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    });
    return readPixels(bitmap);
  } catch {
    // Besides what is no image to this browser, one with more pixels than a canvas takes.
    return null;
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @returns {ImageData | null}
 */
function readPixels(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
