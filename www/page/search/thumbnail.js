// The thumbnail of a picture, which is stored with its vector.

import { WorkerConnection } from "../../lib/client/worker-connection.js";
import { searchWorker } from "./workers.js";

/**
 * The methods of the worker.
 * @typedef {object} ThumbnailMethods
 * @property {(params: { file: Blob, type: string }) => Promise<ArrayBuffer | null>} make a file of that type; `null` for a
 *   picture that this browser cannot show
 */

/** The path of the worker's script. */
export const THUMBNAIL_WORKER = "page/search/thumbnail-worker.js";
const script = searchWorker(THUMBNAIL_WORKER, "the worker that makes thumbnails");
/** JPEG, because every browser can write it. */
const TYPE = "image/jpeg";

/** @type {WorkerConnection | null} */
let connection = null;

/**
 * @param {Blob} file
 * @returns {Promise<ArrayBuffer | null>} a JPEG file; `null` for a format that this browser cannot show
 */
export async function makeThumbnail(file) {
  if (!connection || connection.ended) connection = new WorkerConnection(script);
  return connection.call("make", { file, type: TYPE }).catch(() => null);
}

/**
 * A `data:` URL: to make one of a blob, a page must ask the browser's own process and wait.
 * @param {ArrayBuffer} bytes a JPEG file
 */
export function thumbnailUrl(bytes) {
  return `data:${TYPE};base64,${btoa(String.fromCharCode(...new Uint8Array(bytes)))}`;
}
