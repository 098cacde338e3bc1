// This device's copy of a model's file. What goes wrong with it is a warning, not a failed load: the copy is given up,
// and the model works without.

import { Store } from "./store.js";
import { isDomException } from "../shared/error.js";
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
   * @param {string} key what the file is kept under: its URL
   * @param {{ keep: boolean, sha256?: string, onWarning: (warning: Warning) => void }} options
   * @returns {Promise<LocalCopy>}
   */
  static async open(key, { keep, sha256, onWarning }) {
    const copy = new LocalCopy(key, null, onWarning);
    if (!keep) return copy;
    try {
      const kept = await (await Store.open())?.file(key);
      if (!kept) copy.#warn("this browser keeps no files for this page");
      // The page asks for another file at this address than when it was kept.
      if (kept?.about?.sha256 && sha256 && kept.about.sha256 !== sha256) await kept.remove();
      copy.#kept = kept ?? null;
    } catch (error) {
      copy.#warn(String(error));
    }
    return copy;
  }

  /** Whether anything is kept, or will be. */
  get keeps() {
    return this.#kept !== null;
  }

  /** What is known of the file, `null` where nothing of it is kept. */
  get about() {
    return this.#kept?.about ?? null;
  }

  /** The parts that are kept, as `from, to, from, to, …`. */
  parts() {
    return this.#kept?.parts() ?? [];
  }

  /**
   * How far the file is kept from a place on; the place itself where it is not.
   * @param {number} position
   */
  keptTo(position) {
    return this.#kept?.keptTo(position) ?? position;
  }

  /**
   * Where the next piece after a place begins.
   * @param {number} position not kept itself
   */
  nextPiece(position) {
    return this.#kept?.nextPiece(position) ?? Infinity;
  }

  /**
   * @param {number} position
   * @param {number} end
   * @returns {Promise<Uint8Array | null>} bytes from there on, at most to `end`; `null` where none are kept
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
   * @param {() => Partial<About>} describe what is known of the file, asked for before its first bytes are kept
   */
  async write(position, bytes, describe) {
    await this.#attempt(async (kept) => {
      if (!kept.about) {
        const about = { url: this.#key, size: null, etag: null, sha256: null, towers: [], whole: false, ...describe() };
        if (!(await this.#hasRoom(kept, about))) return;
        await kept.describe(about);
      }
      await kept.write(position, bytes);
    });
  }

  /** @param {(about: About) => About} change of what is known of the file */
  async change(change) {
    await this.#attempt(async (kept) => {
      const about = kept.about && change(kept.about);
      if (about && JSON.stringify(about) !== JSON.stringify(kept.about)) await kept.describe(about);
    });
  }

  /**
   * Says that all of these towers, or of all that the file has, have come.
   * @param {Tower[] | undefined} towers
   */
  async complete(towers) {
    await this.change((about) => {
      const all = towers === undefined ? about.towers : [...new Set([...about.towers, ...towers])];
      return { ...about, towers: all, whole: about.whole || towers === undefined };
    });
  }

  /** Leaves its files; reading and writing open them again. */
  async close() {
    await this.#attempt((kept) => kept.close());
  }

  /** Deletes everything of the file, to keep it anew. */
  async restart() {
    await this.#attempt((kept) => kept.remove());
  }

  /** Deletes everything of the file, and keeps nothing more. */
  async discard() {
    await this.#attempt((kept) => kept.remove());
    this.#kept = null;
  }

  /**
   * Looks before anything is written: a full disk serves nobody.
   * @param {KeptFile} kept
   * @param {About} about
   */
  async #hasRoom(kept, about) {
    if (about.conversion && !kept.anyOrder) {
      this.#kept = null;
      this.#warn("this browser has no file system for this page, in which a converted model could be written");
      return false;
    }
    const { quota = Infinity, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    const wanted = about.size ?? 0;
    if (quota - usage >= wanted) return true;
    this.#kept = null;
    const room = megabytes(Math.max(0, quota - usage), 0);
    this.#warn(`it takes ${megabytes(wanted, 0)} where this site may still keep ${room}; delete kept models to make room`);
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
      // Half of it would take the room and not be enough.
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
 * Whether all that a load wants has been kept.
 * @param {string} key
 * @param {{ towers?: Tower[], sha256?: string }} wanted
 */
export async function isKept(key, { towers, sha256 }) {
  const about = await (await Store.open())?.about(key).catch(() => null);
  if (!about || (sha256 && about.sha256 !== sha256)) return false;
  return about.whole || (towers !== undefined && towers.every((tower) => about.towers.includes(tower)));
}
