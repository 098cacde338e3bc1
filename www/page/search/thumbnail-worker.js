// The worker that makes thumbnails. On the page itself, browsers hold the encoding of pictures back while the page is out
// of sight.

import { serveWorker } from "../../lib/worker/message-loop.js";

/** @import { ThumbnailMethods } from "./thumbnail.js" */

/** Pixels of the shorter edge, as many as a square on the page needs, and of the longer edge at most. */
const SHORTER_EDGE = 160;
const LONGER_EDGE = 320;
/** A hundred thumbnails take one megabyte. */
const QUALITY = 0.8;

/** @type {ThumbnailMethods} */
const methods = { make };

serveWorker(methods);

/** @type {ThumbnailMethods["make"]} */
async function make({ file, type }) {
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
    return await (await canvas.convertToBlob({ type, quality: QUALITY })).arrayBuffer();
  } catch {
    return null;
  } finally {
    bitmap?.close();
  }
}
