// Weights from a URL or a file, as a stream of chunks: JavaScript never holds more than one of them.
// To abort a load is to end the worker it runs in, which stops the network and the packing alike.

import { download } from "./download.js";
import { ClipError } from "./error.js";

/**
 * Bytes so far, and of how many; `null` where nobody says.
 * @typedef {{ loaded: number, total: number | null }} Progress
 */

export class Weights {
  #stream;
  #total;
  #broken;
  #name;
  #loaded = 0;

  /**
   * @param {string} name the URL or the file's name
   * @param {ReadableStream<Uint8Array>} stream
   * @param {number | null} total bytes
   * @param {(loaded: number, cause?: unknown) => ClipError} broken the error of a stream that ends early
   */
  constructor(name, stream, total, broken) {
    this.#name = name;
    this.#stream = stream;
    this.#total = total;
    this.#broken = broken;
  }

  /**
   * @param {string | Blob} source an absolute URL or a file
   * @param {number} [size] bytes of the file, for a server that does not tell
   * @returns {Promise<Weights>}
   */
  static async open(source, size) {
    return typeof source === "string" ? openUrl(source, size) : openFile(source);
  }

  /** Bytes, as far as anybody tells. */
  get total() {
    return this.#total;
  }

  /**
   * The bytes, once. Progress is told before each chunk, and after the last.
   * @param {(progress: Progress) => void} onProgress
   * @returns {AsyncGenerator<Uint8Array, void, void>}
   */
  async *chunks(onProgress) {
    const reader = this.#stream.getReader();
    try {
      for (;;) {
        // More than was announced: the length was that of a compressed body.
        const total = this.#total !== null && this.#loaded > this.#total ? null : this.#total;
        onProgress({ loaded: this.#loaded, total });
        const { done, value } = await reader.read().catch((cause) => {
          throw this.#broken(this.#loaded, cause);
        });
        if (done) break;
        if (this.#loaded === 0) refuseWebPage(value, this.#name);
        this.#loaded += value.length;
        yield value;
      }
    } finally {
      // A stream that has failed refuses this too, and there is nothing left to cancel.
      reader.cancel().catch(() => {});
    }
  }

  /**
   * Why a model is incomplete: fewer bytes came than were announced, and not every browser makes
   * that an error. A complete model may be short of them as well, because the announced length is
   * that of a compressed body where an encoding is hidden from us by CORS.
   * @returns {ClipError | null}
   */
  shortfall() {
    return this.#total !== null && this.#loaded < this.#total ? this.#broken(this.#loaded) : null;
  }
}

/**
 * @param {string} url
 * @param {number | undefined} size
 * @returns {Promise<Weights>}
 */
async function openUrl(url, size) {
  const response = await download(url);
  if (response.headers.get("content-type")?.startsWith("text/html")) throw webPageError(url);
  const total = contentLength(response) ?? size ?? null;
  const of = total === null ? "bytes" : `of ${total} bytes`;
  return new Weights(
    url,
    response.body ?? new Blob([]).stream(),
    total,
    (loaded, cause) =>
      new ClipError("network", `the connection ended after ${loaded} ${of} of ${url}; try again`, { cause }),
  );
}

/**
 * @param {Blob} file
 * @returns {Weights}
 */
function openFile(file) {
  const name = file instanceof File ? file.name : "the file";
  return new Weights(
    name,
    file.stream(),
    file.size,
    (loaded, cause) =>
      new ClipError(
        "io",
        `${name} cannot be read beyond byte ${loaded}: has it been moved or changed? Choose it again`,
        { cause },
      ),
  );
}

/**
 * The length of the body as it will be read, as far as the headers that we may see tell.
 * Content-Length counts compressed bytes where there is a Content-Encoding.
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = response.headers.get("content-length");
  if (length === null || response.headers.has("content-encoding")) return null;
  return Number(length);
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
