// This device's copy of a model's file. If storing it fails, that is a warning, not a failed load: the copy is deleted,
// and the model works without it.

import { Store } from "./store.js";
import { isDomException } from "../shared/error.js";
import { TOWERS } from "../shared/towers.js";
import { megabytes } from "../shared/units.js";

/** @import { About, KeptFile } from "./kept-file.js" */
/** @import { Tower, Warning } from "../shared/protocol.js" */

export class LocalCopy {
  #key;
  #onWarning;
  /** @type {KeptFile | null} */
  #kept;

  /**
   * Use {@link LocalCopy.open}.
   * @param {string} key
   * @param {KeptFile | null} kept
   * @param {(warning: Warning) => void} onWarning
   */
  constructor(key, kept, onWarning) {
    this.#key = key;
    this.#kept = kept;
    this.#onWarning = onWarning;
  }

  /**
   * @param {string} key that the file is stored under, such as its URL
   * @param {{ keep: boolean, sha256?: string, onWarning: (warning: Warning) => void }} options
   * @returns {Promise<LocalCopy>}
   */
  static async open(key, { keep, sha256, onWarning }) {
    const copy = new LocalCopy(key, null, onWarning);
    if (!keep) return copy;
    try {
      const kept = await (await Store.open())?.file(key);
      if (!kept) copy.#warn("this browser keeps no files for this page");
      // The page now expects another file at this URL than the stored one.
      if (kept?.about?.sha256 && sha256 && kept.about.sha256 !== sha256) await kept.remove();
      copy.#kept = kept ?? null;
    } catch (error) {
      copy.#warn(String(error));
    }
    return copy;
  }

  /** Whether the file is stored, or will be. */
  get keeps() {
    return this.#kept !== null;
  }

  /** What is known of the file, `null` if nothing of it is stored. */
  get about() {
    return this.#kept?.about ?? null;
  }

  /** The ranges that are stored, as `from, to, from, to, …`. */
  parts() {
    return this.#kept?.parts() ?? [];
  }

  /**
   * The end of the stored bytes that begin at a position; the position itself if none are stored there.
   * @param {number} position
   */
  keptTo(position) {
    return this.#kept?.keptTo(position) ?? position;
  }

  /**
   * The start of the next piece after a position.
   * @param {number} position that is not stored itself
   */
  nextPiece(position) {
    return this.#kept?.nextPiece(position) ?? Infinity;
  }

  /**
   * @param {number} position
   * @param {number} end
   * @returns {Promise<Uint8Array | null>} bytes from `position` on, at most to `end`; `null` if none are stored
   */
  async read(position, end) {
    if (this.keptTo(position) === position) return null;
    let bytes = null;
    await this.#attempt(async (kept) => {
      bytes = await kept.read(position, end);
    });
    return bytes;
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   * @param {() => Partial<About>} describe what is known of the file; called before its first bytes are stored
   * @param {() => number} [needed] how many bytes will be stored, if not the whole file
   */
  async write(position, bytes, describe, needed) {
    await this.#attempt(async (kept) => {
      if (!kept.about) {
        const about = { url: this.#key, size: null, etag: null, sha256: null, towers: [], whole: false, ...describe() };
        if (!(await this.#hasRoom(kept, about, needed?.() ?? about.size ?? 0))) return;
        await kept.describe(about);
      }
      await kept.write(position, bytes);
    });
  }

  /** @param {(about: About) => About} change to what is known of the file */
  async change(change) {
    await this.#attempt(async (kept) => {
      const about = kept.about && change(kept.about);
      if (about && JSON.stringify(about) !== JSON.stringify(kept.about)) await kept.describe(about);
    });
  }

  /**
   * Records that these towers, or all towers of the file, have been loaded.
   * @param {Tower[] | undefined} towers
   */
  async complete(towers) {
    await this.change((about) => {
      const all = [...new Set([...about.towers, ...(towers ?? [])])];
      return { ...about, towers: all, whole: about.whole || towers === undefined || all.length === TOWERS.length };
    });
  }

  /** Closes the files; reading and writing open them again. */
  async close() {
    await this.#attempt((kept) => kept.close());
  }

  /** Deletes everything that is stored of the file. Later writes store it again. */
  async restart() {
    await this.#attempt((kept) => kept.remove());
  }

  /** Deletes everything that is stored of the file. Later writes do nothing. */
  async discard() {
    await this.#attempt((kept) => kept.remove());
    this.#kept = null;
  }

  /**
   * Checks the room before anything is written, so that a file that does not fit does not fill the disk.
   * @param {KeptFile} kept
   * @param {About} about
   * @param {number} wanted bytes
   */
  async #hasRoom(kept, about, wanted) {
    if (about.conversion && !kept.anyOrder) {
      this.#kept = null;
      this.#warn("this browser has no file system for this page, which a converted model needs");
      return false;
    }
    const { quota = Infinity, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    if (quota - usage >= wanted) return true;
    this.#kept = null;
    const room = megabytes(Math.max(0, quota - usage), 0);
    this.#warn(`it takes ${megabytes(wanted, 0)}, but this site has only ${room} of storage left; delete kept models to make room`);
    return false;
  }

  /** @param {(kept: KeptFile) => Promise<void>} work */
  async #attempt(work) {
    const kept = this.#kept;
    if (!kept) return;
    try {
      await work(kept);
    } catch (error) {
      this.#kept = null;
      // Half a model would use storage and be of no use.
      await kept.remove().catch(() => {});
      const full = isDomException(error, "QuotaExceededError");
      this.#warn(full ? "the disk, or this site's share of it, is full; delete kept models to make room" : String(error));
    }
  }

  /** @param {string} why */
  #warn(why) {
    this.#onWarning({ code: "not_kept", message: `the model is not kept for the next visit: ${why}` });
  }
}

/**
 * What is known of a stored file, `null` if nothing is stored.
 * @param {string} key
 * @returns {Promise<About | null>}
 */
export async function aboutKept(key) {
  return (await (await Store.open())?.about(key).catch(() => null)) ?? null;
}
