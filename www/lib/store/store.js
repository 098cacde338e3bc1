// The models that are stored between visits, in the origin private file system, or in the Cache API if that is missing.
// model-lock.js says how tabs and workers share them.

import { KeptFile, readAbout } from "./kept-file.js";
import { openCache } from "./cache-api.js";
import { openFileSystem } from "./file-system.js";

/** @import { Backend } from "./backend.js" */
/** @import { About } from "./kept-file.js" */
/** @import { Tower } from "../shared/protocol.js" */

/**
 * A model that is kept, whole or in part.
 * @typedef {object} KeptModel
 * @property {string} url
 * @property {number | null} size bytes of the whole file, `null` where its server did not tell
 * @property {number} keptSize bytes of it that are kept
 * @property {Tower[]} towers that have come, one by one
 * @property {boolean} whole whether all that the file has have come
 * @property {boolean} verified whether its SHA-256 has been found right
 */

/** In the browser's storage. */
const NAME = "clip-wasm-models";

export class Store {
  #backend;

  /** @param {Backend} backend */
  constructor(backend) {
    this.#backend = backend;
  }

  /**
   * @returns {Promise<Store | null>} `null` where this browser, or this page, keeps nothing
   */
  static async open() {
    if (!globalThis.crypto?.subtle) return null; // neither is there then: the page is not secure
    for (const open of [openFileSystem, openCache]) {
      try {
        return new Store(await open(NAME));
      } catch {
        continue; // it is missing, or forbidden as in a private window
      }
    }
    return null;
  }

  /**
   * What is kept of the file at a URL, perhaps nothing yet. Only its holder writes: see {@link modelLock}.
   * @param {string} url
   * @returns {Promise<KeptFile>}
   */
  async file(url) {
    const id = await idOf(url);
    return KeptFile.open(await this.#backend.folder(id), () => this.#backend.remove(id));
  }

  /**
   * @param {string} url
   * @returns {Promise<About | null>}
   */
  async about(url) {
    return readAbout(await this.#backend.folder(await idOf(url)));
  }

  /** @returns {Promise<KeptModel[]>} */
  async list() {
    const models = [];
    for (const id of await this.#backend.ids()) {
      const { about, keptSize } = await KeptFile.open(await this.#backend.folder(id), async () => {});
      if (!about || keptSize === 0) continue; // its download ended before anything was written
      const { url, size, towers, whole, sha256 } = about;
      models.push({ url, size, keptSize, towers, whole, verified: sha256 !== null });
    }
    return models;
  }

  /**
   * Deletes what is kept of a file.
   * @param {string} url
   */
  async delete(url) {
    await this.#backend.remove(await idOf(url));
  }
}

/**
 * @param {string} url
 * @returns {Promise<string>} a name that every store allows
 */
async function idOf(url) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
