// Weights from a URL or a file, read from any place on. What comes from a URL is kept on the way, and what is
// kept is not fetched again. JavaScript never holds more than one chunk.

import { ClipError, webPageError } from "../shared/error.js";
import { LocalCopy } from "../store/local-copy.js";
import { RemoteFile } from "./remote-file.js";
/** @import { LimitOptions, Tower, Warning } from "../shared/protocol.js" */


/** Bytes that are read at once from a disk. */
const CHUNK = 1 << 20;

/**
 * @typedef {object} WeightsOptions
 * @property {number} [size] bytes of the file, for a server that does not tell
 * @property {string} [sha256] of the whole file
 * @property {string[]} mirrors further addresses of the same file
 * @property {string | null} [etag] of the file that is to go on, where nothing of it is kept as it is
 * @property {boolean} keep whether to keep what comes, and to use what is kept
 * @property {number} idleTimeout milliseconds
 * @property {LimitOptions} limits
 * @property {AbortSignal} signal
 * @property {(warning: Warning) => void} onWarning
 */

/**
 * @typedef {object} Weights
 * @property {string} name the URL or the file's name
 * @property {number | null} size bytes, as far as anybody tells
 * @property {string | null} [etag] as its server tells it
 * @property {string | null} sha256 of the whole file, where it has been found right, now or before
 * @property {(position: number, end: number) => Promise<Uint8Array | null>} read the next bytes from a place on, at
 *   most to `end`; `null` at the file's end. They may be overwritten by the next call
 * @property {boolean} rereads whether what has been read can be read again without a server
 * @property {(from: number, to: number) => boolean} hasAll whether all of this part is at hand without a server
 * @property {(towers: Tower[] | undefined) => Promise<void>} complete says that all of these towers, or of all that
 *   the file has, has come
 * @property {(sha256: string) => Promise<void>} verify says that this SHA-256 is right
 * @property {() => Promise<void>} close leaves what it has open; reading opens it again
 * @property {() => Promise<void>} discard keeps nothing of it: it is wrong
 */

/**
 * @param {string | Blob} source an absolute URL or a file
 * @param {WeightsOptions} options
 * @returns {Promise<Weights>}
 */
export async function openWeights(source, options) {
  if (source instanceof Blob) return new LocalWeights(source);
  return new RemoteWeights(source, options, await LocalCopy.open(source, options));
}

/**
 * @param {string} name
 * @param {LocalCopy} copy of a file that has been made here
 * @returns {Weights}
 */
export function openStored(name, copy) {
  return new StoredWeights(name, copy);
}

/** @implements {Weights} */
class RemoteWeights {
  #copy;
  #remote;

  /**
   * @param {string} url
   * @param {WeightsOptions} options
   * @param {LocalCopy} copy
   */
  constructor(url, options, copy) {
    this.name = url;
    this.#copy = copy;
    /** @type {string | null} */
    this.sha256 = copy.about?.sha256 ?? null;
    this.#remote = new RemoteFile([url, ...options.mirrors], {
      ...options,
      size: options.size ?? null,
      toldSize: copy.about?.size ?? null,
      etag: copy.about?.etag ?? options.etag ?? null,
      cache: copy.keeps || options.etag !== undefined ? "no-store" : "default",
      passed: (position, bytes) => this.#keep(position, bytes),
    });
  }

  get size() {
    return this.#remote.size;
  }

  get etag() {
    return this.#remote.etag;
  }

  get rereads() {
    return this.#copy.keeps;
  }

  /**
   * @param {number} position
   * @param {number} end
   */
  async read(position, end) {
    const kept = await this.#copy.read(position, Math.min(end, position + CHUNK));
    if (kept) return kept;
    const bytes = await this.#remote.read(position, Math.min(end, this.#copy.nextPiece(position)));
    if (bytes) {
      if (position === 0) refuseWebPage(bytes, this.name);
      await this.#keep(position, bytes);
    }
    return bytes;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  hasAll(from, to) {
    return this.#copy.keptTo(from) >= to;
  }

  /** @param {Tower[] | undefined} towers */
  async complete(towers) {
    await this.#copy.complete(towers);
  }

  /** @param {string} sha256 */
  async verify(sha256) {
    this.sha256 = sha256;
    await this.#copy.change((about) => ({ ...about, sha256 }));
  }

  async close() {
    this.#remote.close();
    await this.#copy.close();
    // What was announced may have been the length of a compressed body.
    await this.#copy.change((about) => ({ ...about, size: this.size }));
  }

  async discard() {
    this.#remote.close();
    await this.#copy.discard();
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   */
  async #keep(position, bytes) {
    await this.#copy.write(position, bytes, () => ({ size: this.size, etag: this.#remote.etag }));
  }
}

/**
 * A file that was made here, and lies nowhere else.
 * @implements {Weights}
 */
class StoredWeights {
  rereads = true;
  #copy;

  /**
   * @param {string} name
   * @param {LocalCopy} copy
   */
  constructor(name, copy) {
    this.name = name;
    this.#copy = copy;
    /** Of the checkpoint's weights, which is what is asked for. */
    this.sha256 = copy.about?.sha256 ?? null;
  }

  get size() {
    return this.#copy.about?.size ?? null;
  }

  /**
   * @param {number} position
   * @param {number} end
   */
  async read(position, end) {
    return this.#copy.read(position, Math.min(end, position + CHUNK));
  }

  hasAll() {
    return true;
  }

  async complete() {}

  async verify() {}

  async close() {
    await this.#copy.close();
  }

  async discard() {
    await this.#copy.discard();
  }
}

/** @implements {Weights} */
class LocalWeights {
  /** @type {string | null} */
  sha256 = null;
  rereads = true;
  #file;

  /** @param {Blob} file */
  constructor(file) {
    this.#file = file;
    this.name = file instanceof File ? file.name : "the file";
    this.size = file.size;
  }

  /**
   * @param {number} position
   * @param {number} end
   */
  async read(position, end) {
    const to = Math.min(end, position + CHUNK, this.size);
    if (position >= to) return null;
    let bytes;
    try {
      bytes = new Uint8Array(await this.#file.slice(position, to).arrayBuffer());
    } catch (cause) {
      throw new ClipError("io", `${this.name} cannot be read at byte ${position}: has it been moved or changed? Choose it again`, { cause });
    }
    if (position === 0) refuseWebPage(bytes, this.name);
    return bytes;
  }

  hasAll() {
    return true;
  }

  async complete() {}

  /** @param {string} sha256 */
  async verify(sha256) {
    this.sha256 = sha256;
  }

  async close() {}

  async discard() {}
}

/**
 * @param {Uint8Array} start
 * @param {string} name
 */
function refuseWebPage(start, name) {
  const text = new TextDecoder().decode(start.subarray(0, 64)).trimStart().toLowerCase();
  if (text.startsWith("<!doctype") || text.startsWith("<html")) throw webPageError(name);
}
