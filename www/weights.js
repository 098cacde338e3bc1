// Weights from a URL or a file, read from any place on. What comes from a URL is kept on the way, and what is
// kept is not fetched again. JavaScript never holds more than one chunk.

import { ClipError, webPageError } from "./error.js";
import { RemoteFile } from "./remote.js";
import { Store } from "./store.js";

/** @import { Tower } from "./loading.js" */
/** @import { About, KeptFile } from "./store.js" */

/** Bytes that are read at once from a disk. */
const CHUNK = 1 << 20;

/**
 * Something that went wrong and that the model does without.
 * @typedef {{ code: "not_kept", message: string }} Warning
 */

/**
 * @typedef {object} WeightsOptions
 * @property {number} [size] bytes of the file, for a server that does not tell
 * @property {string} [sha256] of the whole file
 * @property {string[]} mirrors further addresses of the same file
 * @property {boolean} keep whether to keep what comes, and to use what is kept
 * @property {number} idleTimeout milliseconds
 * @property {AbortSignal} signal
 * @property {(warning: Warning) => void} onWarning
 */

/**
 * @typedef {object} Weights
 * @property {string} name the URL or the file's name
 * @property {number | null} size bytes, as far as anybody tells
 * @property {boolean} verified whether its SHA-256 has been found right before
 * @property {(position: number, end: number) => Promise<Uint8Array | null>} read the next bytes from a place on, at
 *   most to `end`; `null` at the file's end. They may be overwritten by the next call
 * @property {(from: number, to: number) => boolean} hasAll whether all of this part is at hand without a server
 * @property {(towers: Tower[] | undefined) => Promise<void>} complete says that all of these towers, or of all that
 *   the file has, has come
 * @property {() => Promise<void>} verify says that the SHA-256 is right
 * @property {() => Promise<void>} close leaves what it has open; reading opens it again
 * @property {() => Promise<void>} discard keeps nothing of it: it is wrong
 */

/**
 * @param {string | Blob} source an absolute URL or a file
 * @param {WeightsOptions} options
 * @returns {Promise<Weights>}
 */
export async function openWeights(source, options) {
  return typeof source === "string" ? RemoteWeights.open(source, options) : new LocalWeights(source);
}

/**
 * Whether all that a load wants has been kept.
 * @param {string} url
 * @param {{ towers?: Tower[], sha256?: string }} wanted
 */
export async function isKept(url, { towers, sha256 }) {
  const about = await (await Store.open())?.about(url).catch(() => null);
  if (!about || (sha256 && about.sha256 !== sha256)) return false;
  return about.whole || (towers !== undefined && towers.every((tower) => about.towers.includes(tower)));
}

/** @implements {Weights} */
class RemoteWeights {
  verified = false;
  #options;
  #remote;
  /** @type {KeptFile | null} */
  #kept;
  /** Whether anything has been written that needs a description of the file first. */
  #described = false;

  /**
   * @param {string} url
   * @param {WeightsOptions} options
   * @param {KeptFile | null} kept
   */
  constructor(url, options, kept) {
    this.name = url;
    this.#options = options;
    this.#kept = kept;
    const about = kept?.about;
    this.verified = about?.sha256 !== undefined && about?.sha256 !== null;
    this.#described = Boolean(about);
    this.#remote = new RemoteFile([url, ...options.mirrors], {
      size: options.size ?? null,
      toldSize: about?.size ?? null,
      etag: about?.etag ?? null,
      cache: kept ? "no-store" : "default",
      idleTimeout: options.idleTimeout,
      signal: options.signal,
      passed: (position, bytes) => this.#keep(position, bytes),
    });
  }

  /**
   * @param {string} url
   * @param {WeightsOptions} options
   */
  static async open(url, options) {
    const kept = options.keep ? await openKept(url, options) : null;
    return new RemoteWeights(url, options, kept);
  }

  get size() {
    return this.#remote.size;
  }

  /**
   * @param {number} position
   * @param {number} end
   */
  async read(position, end) {
    const keptTo = this.#kept?.keptTo(position) ?? position;
    if (keptTo > position) {
      try {
        return await /** @type {KeptFile} */ (this.#kept).read(position, Math.min(end, position + CHUNK));
      } catch (error) {
        await this.#giveUpKeeping(error);
      }
    }
    const next = this.#kept?.nextPiece(position) ?? Infinity;
    const bytes = await this.#remote.read(position, Math.min(end, next));
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
    return (this.#kept?.keptTo(from) ?? from) >= to;
  }

  /** @param {Tower[] | undefined} towers */
  async complete(towers) {
    await this.#change((about) => {
      const all = towers === undefined ? about.towers : [...new Set([...about.towers, ...towers])];
      return { ...about, towers: all, whole: about.whole || towers === undefined };
    });
  }

  async verify() {
    this.verified = true;
    await this.#change((about) => ({ ...about, sha256: this.#options.sha256 ?? null }));
  }

  async close() {
    this.#remote.close();
    await this.#tryKeeping((kept) => kept.close());
    // What was announced may have been the length of a compressed body.
    await this.#change((about) => ({ ...about, size: this.size }));
  }

  async discard() {
    this.#remote.close();
    await this.#tryKeeping((kept) => kept.remove());
    this.#kept = null;
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   */
  async #keep(position, bytes) {
    await this.#tryKeeping(async (kept) => {
      if (!this.#described) {
        if (!(await this.#hasRoom())) return;
        await kept.describe({ url: this.name, size: this.size, etag: this.#remote.etag, sha256: null, towers: [], whole: false });
        this.#described = true;
      }
      await kept.write(position, bytes);
    });
  }

  /** @param {(about: About) => About} change of what is known of the kept file */
  async #change(change) {
    await this.#tryKeeping(async (kept) => {
      const about = kept.about && change(kept.about);
      if (about && JSON.stringify(about) !== JSON.stringify(kept.about)) await kept.describe(about);
    });
  }

  /** Looks before anything is written: a full disk serves nobody. */
  async #hasRoom() {
    const { quota = Infinity, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    const wanted = this.size ?? 0;
    if (quota - usage >= wanted) return true;
    this.#kept = null;
    this.#warn(`it takes ${megabytes(wanted)} where this site may still keep ${megabytes(Math.max(0, quota - usage))}; delete kept models to make room`);
    return false;
  }

  /** @param {(kept: KeptFile) => Promise<void>} work */
  async #tryKeeping(work) {
    if (!this.#kept) return;
    try {
      await work(this.#kept);
    } catch (error) {
      await this.#giveUpKeeping(error);
    }
  }

  /** @param {unknown} error */
  async #giveUpKeeping(error) {
    const kept = this.#kept;
    this.#kept = null;
    // Half of it would take the room and not be enough.
    await kept?.remove().catch(() => {});
    this.#warn(error instanceof DOMException && error.name === "QuotaExceededError" ? "the disk, or this site's share of it, is full; delete kept models to make room" : String(error));
  }

  /** @param {string} why */
  #warn(why) {
    this.#options.onWarning({ code: "not_kept", message: `the model is not kept for the next visit: ${why}` });
  }
}

/** @implements {Weights} */
class LocalWeights {
  verified = false;
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

  async verify() {
    this.verified = true;
  }

  async close() {}

  async discard() {}
}

/**
 * @param {string} url
 * @param {WeightsOptions} options
 * @returns {Promise<KeptFile | null>}
 */
async function openKept(url, { sha256, onWarning }) {
  try {
    const kept = await (await Store.open())?.file(url);
    if (!kept) {
      onWarning({ code: "not_kept", message: "the model is not kept for the next visit: this browser keeps no files for this page" });
      return null;
    }
    // The page asks for another file at this address than when it was kept.
    if (kept.about?.sha256 && sha256 && kept.about.sha256 !== sha256) await kept.remove();
    return kept;
  } catch (error) {
    onWarning({ code: "not_kept", message: `the model is not kept for the next visit: ${error}` });
    return null;
  }
}

/**
 * @param {Uint8Array} start
 * @param {string} name
 */
function refuseWebPage(start, name) {
  const text = new TextDecoder().decode(start.subarray(0, 64)).trimStart().toLowerCase();
  if (text.startsWith("<!doctype") || text.startsWith("<html")) throw webPageError(name);
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
