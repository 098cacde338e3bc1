// A file on a server, or on several that have the same one, read from any place on. A connection that is cut,
// or over which nothing more comes, is taken up again where it was.

import { download } from "../shared/download.js";
import { abortedError, ClipError, webPageError } from "../shared/error.js";
import { pause } from "../shared/waiting.js";

/** The file is another than the one whose bytes came before. */
export class FileChanged extends Error {}

/** Tries after a failure, until bytes come again. */
const RETRIES = 5;
/** Fewer while no server has answered at all: more likely the address is wrong. */
const FIRST_RETRIES = 2;
/** Milliseconds before the first of them; doubled before each further one. */
const FIRST_PAUSE = 250;
/** Bytes that are read and passed over rather than asking anew for what comes after them. */
const NEAR = 256 << 10;

/** What is read at a time at most, and held. WebKit gives all that has come meanwhile as one chunk. */
const BUFFER_BYTES = 2 << 20;
/** Codes of failures that another try does not mend. */
const PERMANENT = ["not_a_model", "io"];
/** HTTP's own transient answers: too early, too many requests, and a server's own troubles. */
const TRANSIENT_STATUS = [408, 425, 429];

/**
 * An answer that is being read.
 * @typedef {object} Connection
 * @property {{ read: () => Promise<Uint8Array | null> }} reader
 * @property {AbortController} abort
 * @property {number} position of its next byte in the file
 * @property {number} end where it stops at the latest
 * @property {Uint8Array | null} rest read already, and not given yet
 */

/**
 * @typedef {object} RemoteOptions
 * @property {number | null} size bytes, as whoever offers the file has it
 * @property {number | null} toldSize bytes, as a server told with what is kept of the file already
 * @property {string | null} etag of what is kept already, from the first of the addresses
 * @property {RequestCache} cache the browser's own cache: what is kept here need not lie there too
 * @property {number} idleTimeout milliseconds without a byte after which a connection counts as cut
 * @property {AbortSignal} signal
 * @property {(position: number, bytes: Uint8Array) => Promise<void>} passed told what was read on the way to a place
 */

export class RemoteFile {
  #urls;
  #cache;
  #idleTimeout;
  #signal;
  #passed;
  /** Which of the addresses is asked. */
  #index = 0;
  /** Of the address that is asked. */
  #etag;
  #answered = false;
  #failures = 0;
  /** Whether the server gives parts; `null` until it was asked. @type {boolean | null} */
  #givesParts = null;
  /** What a server told of the file's size. */
  #toldSize;
  /** @type {Connection | null} */
  #connection = null;

  /**
   * @param {string[]} urls absolute
   * @param {RemoteOptions} options
   */
  constructor(urls, { size, toldSize, etag, cache, idleTimeout, signal, passed }) {
    this.#urls = urls;
    this.#etag = etag;
    this.#cache = cache;
    this.#idleTimeout = idleTimeout;
    this.#signal = signal;
    this.#passed = passed;
    this.#toldSize = toldSize;
    /** Bytes of the whole file, as far as anybody tells. @type {number | null} */
    this.size = toldSize ?? size;
  }

  /** Of the file as the first of the addresses has it. */
  get etag() {
    return this.#index === 0 ? this.#etag : null;
  }

  /**
   * The next bytes from a place on, `null` at the file's end. The next read may overwrite them.
   * @param {number} position
   * @param {number} end at most to there
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
   * Waits before the next try, or gives up.
   * @param {unknown} error
   */
  async #recover(error) {
    if (!(error instanceof ClipError)) throw error;
    const status = statusOf(error);
    const refused = status >= 400 && status < 500 && !TRANSIENT_STATUS.includes(status);
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
   * A connection that is at `position` or will come there.
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
      const response = await download(url, { signal: abort.signal, headers, cache: this.#cache });
      if (response.headers.get("content-type")?.startsWith("text/html")) {
        // Where bytes have come already, it is this answer that is wrong, not the address.
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
      // The file ends before what was kept of it does.
      if (statusOf(error) === 416) throw new FileChanged();
      throw watch.fired && !this.#signal.aborted ? this.#idleError(position) : error;
    } finally {
      watch.stop();
    }
  }

  /**
   * `If-Range` makes a changed file come whole. Between origins it would need the server's leave to be sent, so
   * there the answer's ETag alone is compared.
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
   * Checks what an answer is, and learns from it.
   * @param {Response} response
   * @param {string} url
   * @param {boolean} askedPart
   * @param {number} position
   * @param {number} end
   * @returns {number} where its body begins in the file
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
        this.#givesParts = false; // it does not understand: the whole is asked for
        throw new ClipError("network", `${url} answered with another part of the file than was asked for; use another address`);
      }
      this.#learnSize(range && range[3] !== "*" ? Number(range[3]) : null);
    } else {
      if (askedPart) this.#givesParts = false;
      this.#learnSize(length);
    }
    this.#etag = etag ?? this.#etag;
    return response.status === 206 ? position : 0;
  }

  /** @param {number | null} size as an answer tells */
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
        // Not every browser makes an error of fewer bytes than were announced.
        const whole = Math.min(connection.end, this.size ?? connection.position);
        if (connection.position < whole) throw this.#cutError(connection.position);
        return null;
      }
      // More than was announced: the length was that of a compressed body.
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

  /** @param {AbortController} abort of a connection that may be silent for so long and no longer */
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
    return new ClipError("network", `nothing has come from ${this.#url} for ${seconds} s, after ${this.#upTo(position)}; try again`);
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
 * @param {unknown} error
 * @returns {number} the HTTP status that it tells of, or 0
 */
function statusOf(error) {
  const cause = error instanceof ClipError ? error.cause : null;
  return cause instanceof Response ? cause.status : 0;
}

/**
 * The same for a file however it was compressed on its way, as servers derive it.
 * @param {string} etag
 */
function plainEtag(etag) {
  return etag.replace(/^W\//, "").replace(/-gzip"$/, '"');
}

/**
 * The length of the body as it will be read, as far as the headers that we may see tell.
 * Content-Length counts compressed bytes where there is a Content-Encoding.
 * @param {Response} response
 * @returns {number | null}
 */
function contentLength(response) {
  const length = response.headers.get("content-length");
  if (length === null || !/^\d+$/.test(length) || response.headers.has("content-encoding")) return null;
  return Number(length);
}

/**
 * Reads into one buffer where the browser can: chunks of their own come to as much as the model before they are
 * collected.
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
    // No byte stream, as in Safari, or where a service worker has made the answer.
    const reader = body.getReader();
    return {
      async read() {
        const { done, value } = await reader.read();
        return done ? null : value;
      },
    };
  }
}
