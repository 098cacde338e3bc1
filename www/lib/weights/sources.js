// Weights from a URL or a file, read from any position. Bytes from a URL are stored as they arrive, and stored bytes
// are not fetched again. JavaScript never holds more than one chunk.

import { ClipError, webPageError } from "../shared/error.js";
import { common } from "../shared/ranges.js";
import { LocalCopy } from "../store/local-copy.js";
import { RemoteFile } from "./remote-file.js";

/** @import { Access } from "../shared/hub.js" */
/** @import { LimitOptions, Tower, Warning } from "../shared/protocol.js" */

/** Bytes that are read at a time from a disk. */
const CHUNK = 1 << 20;

/**
 * @typedef {object} WeightsOptions
 * @property {number} [size] bytes of the file, if the server does not send the size
 * @property {string} [sha256] of the whole file
 * @property {string[]} mirrors further URLs of the same file
 * @property {Access | null} access to private models of the Hub
 * @property {string | null} [etag] of a file that an earlier conversion has read in part, and that is not stored itself
 * @property {boolean} keep whether to store the bytes, and to use stored ones
 * @property {number} idleTimeout milliseconds
 * @property {LimitOptions} limits
 * @property {AbortSignal} signal
 * @property {(warning: Warning) => void} onWarning
 */

/**
 * @typedef {object} Weights
 * @property {string} name the URL or the file's name
 * @property {number | null} size bytes, if known
 * @property {string | null} [etag] from its server
 * @property {string | null} sha256 of the whole file, if it has been verified, now or before
 * @property {(position: number, end: number) => Promise<Uint8Array | null>} read the next bytes from a position on, at
 *   most to `end`; `null` at the file's end. The next call may overwrite them
 * @property {boolean} rereads whether bytes that have been read can be read again without a server
 * @property {(from: number, to: number) => boolean} hasAll whether this whole range can be read without a server
 * @property {(ranges: number[]) => number[]} available the bytes of these ranges that it can read, as `from, to, …`
 * @property {(towers: Tower[] | undefined) => Promise<void>} complete records that these towers, or all towers of the
 *   file, have been loaded
 * @property {(sha256: string) => Promise<void>} verify records that the file has this SHA-256
 * @property {() => Promise<void>} close closes files and connections; reading opens them again
 * @property {() => Promise<void>} discard deletes what is stored of it, because it is invalid
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
 * @param {(string | null)[]} etags of a checkpoint's files
 * @returns {string | null} one for all of them; `null` if one is not known
 */
export function etagOf(etags) {
  return etags.length === 0 || etags.includes(null) ? null : etags.join(" ");
}

/**
 * @param {string} name
 * @param {LocalCopy} copy of a file that was converted here
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

  /** @param {number[]} ranges */
  available(ranges) {
    return ranges;
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
    // The announced size may have been that of a compressed body.
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
 * A file that was converted here, and is stored only here.
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
    /** Of the checkpoint's weights, not of this file: that is the hash that the caller knows. */
    this.sha256 = copy.about?.sha256 ?? null;
    this.etag = etagOf(copy.about?.conversion?.etags ?? []);
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

  /**
   * If only some towers were converted, what lies between their tensors is not there.
   * @param {number[]} ranges
   */
  available(ranges) {
    return common(ranges, this.#copy.parts());
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

  /** @param {number[]} ranges */
  available(ranges) {
    return ranges;
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
