// The models that are stored between visits, in the origin private file system, or in the Cache API if that is missing.
// model-lock.js says how tabs and workers share them.

import { KeptFile, readAbout } from "./kept-file.js";
import { openCache } from "./cache-api.js";
import { openFileSystem } from "./file-system.js";

/** @import { Backend } from "./backend.js" */
/** @import { About } from "./kept-file.js" */
/** @import { Tower } from "../shared/protocol.js" */

/**
 * A model that is stored, whole or in part.
 * @typedef {object} KeptModel
 * @property {string} url
 * @property {number | null} size bytes of the whole file, `null` if its server did not send the size
 * @property {number} keptSize bytes of it that are stored
 * @property {Tower[]} towers that have been loaded one by one
 * @property {boolean} whole whether all towers of the file have been loaded
 * @property {boolean} verified whether its SHA-256 has been verified
 */

/** The name of the directory, or of the cache. */
const NAME = "clip-wasm-models";

export class Store {
  #backend;

  /** @param {Backend} backend */
  constructor(backend) {
    this.#backend = backend;
  }

  /**
   * The store that this context can write to: only a worker of a page can write to the file system.
   * @returns {Promise<Store | null>} `null` if this browser stores nothing for this page
   */
  static async open() {
    const writesFiles = "FileSystemFileHandle" in globalThis && "createSyncAccessHandle" in FileSystemFileHandle.prototype;
    return (writesFiles ? await openWith(openFileSystem) : null) ?? openWith(openCache);
  }

  /**
   * All stores of this site, whichever context writes to them.
   * @returns {Promise<Store[]>}
   */
  static async all() {
    const stores = await Promise.all([openFileSystem, openCache].map(openWith));
    return stores.filter((store) => store !== null);
  }

  /**
   * The stored parts of the file at a URL, perhaps none yet. Only the holder of the lock may write: see
   * {@link modelLock}.
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
   * Deletes the stored parts of a file.
   * @param {string} url
   */
  async delete(url) {
    await this.#backend.remove(await idOf(url));
  }
}

/**
 * @param {(name: string) => Promise<Backend>} open
 * @returns {Promise<Store | null>} `null` if it is missing, or forbidden as in a private window
 */
async function openWith(open) {
  if (!globalThis.crypto?.subtle) return null; // the page is not a secure context, so it has neither storage
  return open(NAME).then(
    (backend) => new Store(backend),
    () => null,
  );
}

/**
 * @param {string} url
 * @returns {Promise<string>} a name that every store allows
 */
async function idOf(url) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
