// A file on a server, or on several servers that have the same file, read from any position. If a connection breaks, or
// no more bytes arrive, a new connection continues at the same position.

import { download, isTransient, statusOf } from "../shared/download.js";
import { abortedError, ClipError, webPageError } from "../shared/error.js";
import { pause } from "../shared/waiting.js";

/** The file is not the one whose bytes were read before. */
export class FileChanged extends Error {}

/** Retries after a failure, until bytes arrive again. */
const RETRIES = 5;
/** Fewer retries if no server has answered yet: then the URL is probably wrong. */
const FIRST_RETRIES = 2;
/** Milliseconds before the first retry; doubled before each further one. */
const FIRST_PAUSE = 250;
/** A gap of at most so many bytes is read and skipped; for a larger one, a new request is made. */
const NEAR = 256 << 10;

/** Bytes read at a time, at most. WebKit gives everything that has arrived meanwhile as one chunk. */
const BUFFER_BYTES = 2 << 20;
/** Codes of failures that a retry does not fix. */
const PERMANENT = ["not_a_model", "io", "model_not_found", "access_denied"];

/** @import { Access } from "../shared/hub.js" */

/**
 * A response that is being read.
 * @typedef {object} Connection
 * @property {{ read: () => Promise<Uint8Array | null> }} reader
 * @property {AbortController} abort
 * @property {number} position of its next byte in the file
 * @property {number} end position at which it stops at the latest
 * @property {Uint8Array | null} rest bytes that are read already but not returned yet
 */

/**
 * @typedef {object} RemoteOptions
 * @property {number | null} size bytes, as the caller of the API gave it
 * @property {number | null} toldSize bytes, as a server sent it when the stored part was fetched
 * @property {string | null} etag of the stored part, from the first of the URLs
 * @property {RequestCache} cache how to use the browser's own cache: stored files need not be in it too
 * @property {number} idleTimeout milliseconds without a byte after which a connection counts as broken
 * @property {Access | null} access to private models of the Hub
 * @property {AbortSignal} signal
 * @property {(position: number, bytes: Uint8Array) => Promise<void>} passed called with bytes that were read and
 *   skipped
 */

export class RemoteFile {
  #urls;
  #cache;
  #access;
  #idleTimeout;
  #signal;
  #passed;
  /** Index of the URL in use. */
  #index = 0;
  /** Of the file at the URL in use. */
  #etag;
  #answered = false;
  #failures = 0;
  /** Whether the server answers range requests; `null` if that is not known yet. @type {boolean | null} */
  #givesParts = null;
  /** The file's size as a server sent it. */
  #toldSize;
  /** @type {Connection | null} */
  #connection = null;

  /**
   * @param {string[]} urls absolute
   * @param {RemoteOptions} options
   */
  constructor(urls, { size, toldSize, etag, cache, access, idleTimeout, signal, passed }) {
    this.#urls = urls;
    this.#etag = etag;
    this.#cache = cache;
    this.#access = access;
    this.#idleTimeout = idleTimeout;
    this.#signal = signal;
    this.#passed = passed;
    this.#toldSize = toldSize;
    /** Bytes of the whole file, if known. @type {number | null} */
    this.size = toldSize ?? size;
  }

  /** Of the file at the first of the URLs; `null` if another one is in use. */
  get etag() {
    return this.#index === 0 ? this.#etag : null;
  }

  /**
   * The next bytes from a position on, `null` at the file's end. The next read may overwrite them.
   * @param {number} position
   * @param {number} end at which they stop at the latest
   * @returns {Promise<Uint8Array | null>}
   */
  async read(position, end) {
    if (!this.#connection && this.#toldSize !== null && position >= this.#toldSize) return null;
    for (;;) {
      try {
        const connection = await this.#connect(position, end);
        while (connection.position < position) {
          const from = connection.position;
          const bytes = await this.#next(connection, position);
          if (!bytes) return null;
          await this.#passed(from, bytes);
        }
        const bytes = await this.#next(connection, end);
        this.#failures = 0;
        return bytes;
      } catch (error) {
        this.close();
        if (this.#signal.aborted) throw abortedError(this.#signal);
        await this.#recover(error);
      }
    }
  }

  /** Ends the connection; reading opens another. */
  close() {
    this.#connection?.abort.abort();
    this.#connection = null;
  }

  /**
   * Waits before the next retry, goes on to the next URL, or gives up.
   * @param {unknown} error
   */
  async #recover(error) {
    if (!(error instanceof ClipError)) throw error;
    const status = statusOf(error);
    const refused = status >= 400 && !isTransient(status);
    this.#failures++;
    const tries = this.#answered ? RETRIES : FIRST_RETRIES;
    if (PERMANENT.includes(error.code) || refused || this.#failures > tries) {
      if (this.#index + 1 === this.#urls.length) throw error;
      this.#index++;
      this.#failures = 0;
      this.#answered = false;
      this.#etag = null;
      this.#givesParts = null;
      return;
    }
    await pause(FIRST_PAUSE * 2 ** (this.#failures - 1), this.#signal);
  }

  /**
   * A connection that is at `position` or before it.
   * @param {number} position
   * @param {number} end
   */
  async #connect(position, end) {
    const open = this.#connection;
    if (open && open.position <= position && position < open.end) {
      if (position - open.position <= NEAR || this.#givesParts === false) return open;
    }
    this.close();
    const part = position > 0 || end < Infinity;
    const url = this.#url;
    const abort = new AbortController();
    const watch = this.#watch(abort);
    this.#signal.addEventListener("abort", () => abort.abort(), { signal: abort.signal });
    try {
      const asksPart = part && this.#givesParts !== false;
      const headers = asksPart ? this.#rangeHeaders(url, position, end) : {};
      const response = await download(url, { signal: abort.signal, headers, cache: this.#cache, access: this.#access });
      if (response.headers.get("content-type")?.startsWith("text/html")) {
        // If bytes were read before, this response is wrong, not the URL.
        throw position === 0 ? webPageError(url) : new ClipError("network", `${url} answered with a web page instead of the rest of the file; try again`);
      }
      const from = this.#understand(response, url, asksPart, position, end);
      this.#answered = true;
      const reader = readerOf(response.body ?? new Blob([]).stream());
      const to = response.status === 206 ? Math.min(end, this.#toldSize ?? Infinity) : Infinity;
      this.#connection = { reader, abort, position: from, end: to, rest: null };
      return this.#connection;
    } catch (error) {
      abort.abort();
      // The file is shorter than its stored part.
      if (statusOf(error) === 416) throw new FileChanged();
      throw watch.fired && !this.#signal.aborted ? this.#idleError(position) : error;
    } finally {
      watch.stop();
    }
  }

  /**
   * With `If-Range`, the server sends the whole file if it has changed. Across origins this header needs the server's
   * permission (CORS), so there only the response's ETag is compared.
   * @param {string} url
   * @param {number} position
   * @param {number} end
   * @returns {Record<string, string>}
   */
  #rangeHeaders(url, position, end) {
    const range = `bytes=${position}-${end === Infinity ? "" : end - 1}`;
    const strong = this.#etag !== null && !this.#etag.startsWith("W/");
    const own = new URL(url).origin === globalThis.origin;
    return strong && own ? { range, "if-range": /** @type {string} */ (this.#etag) } : { range };
  }

  /**
   * Checks a response, and learns the file's size and ETag from it.
   * @param {Response} response
   * @param {string} url
   * @param {boolean} askedPart
   * @param {number} position
   * @param {number} end
   * @returns {number} the position in the file at which its body begins
   */
  #understand(response, url, askedPart, position, end) {
    const etag = response.headers.get("etag");
    if (etag !== null && this.#etag !== null && plainEtag(etag) !== plainEtag(this.#etag)) throw new FileChanged();
    const length = contentLength(response);
    if (response.status === 206) {
      const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
      const expected = Math.min(end, this.#toldSize ?? Infinity) - position;
      const wrong = range ? Number(range[1]) !== position : length !== null && expected < Infinity && length !== expected;
      if (!askedPart || wrong) {
        this.#givesParts = false; // the server does not handle ranges correctly: from now on, request the whole file
        throw new ClipError("network", `${url} sent another part of the file than was asked for; use another address`);
      }
      this.#learnSize(range && range[3] !== "*" ? Number(range[3]) : null);
    } else {
      if (askedPart) this.#givesParts = false;
      this.#learnSize(length);
    }
    this.#etag = etag ?? this.#etag;
    return response.status === 206 ? position : 0;
  }

  /** @param {number | null} size from a response */
  #learnSize(size) {
    if (size === null) return;
    if (this.#toldSize !== null && this.#toldSize !== size) throw new FileChanged();
    this.#toldSize = size;
    this.size = size;
  }

  /**
   * The next bytes of a connection, at most to `end`.
   * @param {Connection} connection
   * @param {number} end
   * @returns {Promise<Uint8Array | null>}
   */
  async #next(connection, end) {
    let bytes = connection.rest;
    connection.rest = null;
    if (!bytes) {
      const watch = this.#watch(connection.abort);
      const value = await connection.reader
        .read()
        .catch((cause) => {
          throw watch.fired ? this.#idleError(connection.position) : this.#cutError(connection.position, cause);
        })
        .finally(watch.stop);
      if (!value) {
        // If fewer bytes arrive than were announced, not every browser reports an error.
        const whole = Math.min(connection.end, this.size ?? connection.position);
        if (connection.position < whole) throw this.#cutError(connection.position);
        return null;
      }
      // More bytes than announced: the announced length was that of a compressed body.
      if (this.size !== null && connection.position + value.length > this.size) {
        this.#toldSize = null;
        this.size = null;
      }
      bytes = value;
    }
    const room = Math.min(end - connection.position, BUFFER_BYTES);
    if (bytes.length > room) {
      connection.rest = bytes.subarray(room);
      bytes = bytes.subarray(0, room);
    }
    connection.position += bytes.length;
    return bytes;
  }

  /** @param {AbortController} abort of a connection, which is aborted when the idle timeout has passed */
  #watch(abort) {
    const watch = { fired: false, stop: () => clearTimeout(timer) };
    const timer = setTimeout(() => {
      watch.fired = true;
      abort.abort();
    }, this.#idleTimeout);
    return watch;
  }

  /** @param {number} position */
  #idleError(position) {
    const seconds = this.#idleTimeout / 1000;
    return new ClipError("network", `no data from ${this.#url} for ${seconds} s, after ${this.#upTo(position)}; try again`);
  }

  /**
   * @param {number} position
   * @param {unknown} [cause]
   */
  #cutError(position, cause) {
    return new ClipError("network", `the connection ended after ${this.#upTo(position)} of ${this.#url}; try again`, { cause });
  }

  /** @param {number} position */
  #upTo(position) {
    return this.size === null ? `${position} bytes` : `${position} of ${this.size} bytes`;
  }

  get #url() {
    return /** @type {string} */ (this.#urls[this.#index]);
  }
}

/**
 * The ETag without the parts that servers add when they compress the file.
 * @param {string} etag
 */
function plainEtag(etag) {
  return etag.replace(/^W\//, "").replace(/-gzip"$/, '"');
}

/**
 * The length of the body as it will be read, if the visible headers give it. With a Content-Encoding, Content-Length
 * counts compressed bytes.
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = response.headers.get("content-length");
  if (length === null || !/^\d+$/.test(length) || response.headers.has("content-encoding")) return null;
  return Number(length);
}

/**
 * Reads into one buffer if the browser can do that: separate chunks would add up to the size of the model before they
 * are collected.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {{ read: () => Promise<Uint8Array | null> }} the next bytes, `null` at the end
 */
function readerOf(body) {
  let buffer = new ArrayBuffer(BUFFER_BYTES);
  try {
    const reader = body.getReader({ mode: "byob" });
    return {
      async read() {
        const { done, value } = await reader.read(new Uint8Array(buffer));
        if (value) ({ buffer } = value);
        return done ? null : value;
      },
    };
  } catch {
    // Not a byte stream: in Safari, or if a service worker made the response.
    const reader = body.getReader();
    return {
      async read() {
        const { done, value } = await reader.read();
        return done ? null : value;
      },
    };
  }
}
