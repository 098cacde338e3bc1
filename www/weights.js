// Weights from a URL or a file, as a stream of chunks: JavaScript never holds more than one of them.
// To abort a load is to end the worker it runs in, which stops the network and the packing alike.

import { download } from "./download.js";
import { ClipError } from "./error.js";

/**
 * Bytes so far, and of how many; `null` where nobody says.
 * @typedef {{ loaded: number, total: number | null }} Progress
 */

/**
 * Where bytes come from, and how its failures are called.
 * @typedef {object} Source
 * @property {string} name the URL or the file's name
 * @property {ReadableStream<Uint8Array>} stream
 * @property {number | null} total
 * @property {(loaded: number, cause: unknown) => ClipError} broken the error of a stream that ends early
 */

const PROGRESS_INTERVAL_MS = 50;

/**
 * @param {string | Blob} source an absolute URL or a file
 * @param {object} [options]
 * @param {number} [options.size] bytes of the file, for a server that does not tell
 * @param {(progress: Progress) => void} [options.onProgress]
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
export async function* readWeights(source, { size, onProgress = () => {} } = {}) {
  const { name, stream, total, broken } =
    typeof source === "string" ? await openUrl(source, size) : openFile(source);
  const reader = stream.getReader();
  const report = progressReporter(total, onProgress);
  let loaded = 0;
  try {
    report(0);
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw broken(loaded, cause);
      });
      if (done) break;
      if (loaded === 0) refuseWebPage(value, name);
      loaded += value.length;
      report(loaded);
      yield value;
    }
    if (total !== null && loaded < total) throw broken(loaded, undefined);
    onProgress({ loaded, total: loaded });
  } finally {
    // A stream that has failed refuses this too, and there is nothing left to cancel.
    reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} url
 * @param {number | undefined} size
 * @returns {Promise<Source>}
 */
async function openUrl(url, size) {
  const response = await download(url);
  if (response.headers.get("content-type")?.startsWith("text/html")) throw webPageError(url);
  const total = contentLength(response) ?? size ?? null;
  return {
    name: url,
    stream: response.body ?? new Blob([]).stream(),
    total,
    broken: (loaded, cause) =>
      new ClipError(
        "network",
        `the connection ended after ${loaded} ` +
          (total === null ? "bytes" : `of ${total} bytes`) +
          ` of ${url}; try again`,
        { cause },
      ),
  };
}

/**
 * @param {Blob} file
 * @returns {Source}
 */
function openFile(file) {
  const name = file instanceof File ? file.name : "the file";
  return {
    name,
    stream: file.stream(),
    total: file.size,
    broken: (loaded, cause) =>
      new ClipError(
        "io",
        `${name} cannot be read beyond byte ${loaded}: has it been moved or changed? Choose it again`,
        { cause },
      ),
  };
}

/**
 * The length of the body as it will be read. Content-Length counts compressed bytes where there is
 * a Content-Encoding, and across origins either header may be hidden from us.
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = response.headers.get("content-length");
  if (length === null || response.headers.has("content-encoding")) return null;
  return Number(length);
}

/**
 * Reports often enough for a smooth bar, not for every chunk.
 * @param {number | null} total
 * @param {(progress: Progress) => void} onProgress
 * @returns {(loaded: number) => void}
 */
function progressReporter(total, onProgress) {
  let reported = -Infinity;
  return (loaded) => {
    const now = performance.now();
    if (now - reported < PROGRESS_INTERVAL_MS) return;
    reported = now;
    // More than was announced: the length was that of a compressed body.
    onProgress({ loaded, total: total !== null && loaded > total ? null : total });
  };
}

/**
 * @param {Uint8Array} firstChunk
 * @param {string} name
 */
function refuseWebPage(firstChunk, name) {
  const start = new TextDecoder().decode(firstChunk.subarray(0, 64)).trimStart().toLowerCase();
  if (start.startsWith("<!doctype") || start.startsWith("<html")) throw webPageError(name);
}

/**
 * @param {string} name
 * @returns {ClipError}
 */
function webPageError(name) {
  return new ClipError(
    "not_a_model",
    `${name} is a web page, not a model file; on the Hub, a file's own address has /resolve/ in it, not /blob/`,
  );
}
