// Makes the thumbnail of a picture, which is stored with its vector.

/** Pixels of the shorter edge, as many as a square on the page needs, and of the longer edge at most. */
const SHORTER_EDGE = 160;
const LONGER_EDGE = 320;
/** JPEG, because every browser can write it. A hundred thumbnails take one megabyte. */
const FORMAT = { type: "image/jpeg", quality: 0.8 };

/**
 * @param {Blob} file
 * @returns {Promise<ArrayBuffer | null>} a JPEG file; `null` for a format that this browser cannot show
 */
export async function makeThumbnail(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    const scale = Math.min(1, SHORTER_EDGE / Math.min(width, height), LONGER_EDGE / Math.max(width, height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    const context = canvas.getContext("2d");
    if (!context) return null;
    context.fillStyle = "white"; // JPEG has no transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await (await canvas.convertToBlob(FORMAT)).arrayBuffer();
  } catch {
    return null;
  } finally {
    bitmap?.close();
  }
}

/**
 * A `data:` URL: to make one of a blob, a page must ask the browser's own process and wait.
 * @param {ArrayBuffer} bytes a JPEG file
 */
export function thumbnailUrl(bytes) {
  return `data:${FORMAT.type};base64,${btoa(String.fromCharCode(...new Uint8Array(bytes)))}`;
}
