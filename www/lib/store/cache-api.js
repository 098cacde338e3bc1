// Stores files in the Cache API, for browsers without a private file system: an entry for each piece.

import { ClipError } from "../shared/error.js";

/** @import { Backend, Folder } from "./backend.js" */

/**
 * @param {string} name
 * @returns {Promise<Backend>} rejects if the browser has no Cache API, or forbids it
 */
export async function openCache(name) {
  const cache = await caches.open(name);
  const keys = async (/** @type {string} */ prefix) => {
    const paths = (await cache.keys()).map(({ url }) => new URL(url).pathname.slice(1));
    return paths.filter((path) => path.startsWith(prefix));
  };
  return {
    folder: async (id) => new CacheFolder(cache, id, keys),
    ids: async () => [...new Set((await keys("")).map((path) => String(path.split("/")[0])))],
    async remove(id) {
      for (const path of await keys(`${id}/`)) await cache.delete(addressOf(path));
    },
  };
}

/** Bytes of a piece. An entry of the cache can only be written as a whole, so bytes are collected up to this size. */
const CACHE_PIECE = 8 << 20;

/** @implements {Folder} */
class CacheFolder {
  pieceSize = CACHE_PIECE;
  /** The piece that is being written; reused for the next. @type {Uint8Array<ArrayBuffer> | null} */
  #buffer = null;
  #cache;
  #id;
  #keys;

  /**
   * @param {Cache} cache
   * @param {string} id
   * @param {(prefix: string) => Promise<string[]>} keys
   */
  constructor(cache, id, keys) {
    this.#cache = cache;
    this.#id = id;
    this.#keys = keys;
  }

  async list() {
    const entries = [];
    for (const path of await this.#keys(`${this.#id}/`)) {
      const name = String(path.split("/")[1]);
      const length = (await this.#cache.match(addressOf(path)))?.headers.get("content-length");
      entries.push({ name, size: Number(length) });
    }
    return entries;
  }

  /** @param {string} name */
  async readText(name) {
    return (await this.#match(name))?.text() ?? null;
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  async writeText(name, text) {
    await this.#put(name, new TextEncoder().encode(text));
  }

  /** @param {string} name */
  async reader(name) {
    const bytes = await this.#bytes(name);
    return { read: async (/** @type {number} */ from, /** @type {number} */ to) => bytes.subarray(from, to), close() {} };
  }

  /**
   * @param {string} name
   * @param {number} size
   */
  async writer(name, size) {
    const buffer = (this.#buffer ??= new Uint8Array(CACHE_PIECE));
    if (size > 0) buffer.set((await this.#bytes(name)).subarray(0, size));
    let length = size;
    return {
      write(/** @type {Uint8Array} */ bytes, /** @type {number} */ at) {
        buffer.set(bytes, at);
        length = at + bytes.length;
      },
      close: () => this.#put(name, buffer.subarray(0, length)),
    };
  }

  /** @param {string} name */
  async #bytes(name) {
    const response = await this.#match(name);
    if (!response) throw new ClipError("io", "the stored copy of the model is gone; load it again");
    return new Uint8Array(await response.arrayBuffer());
  }

  /** @param {string} name */
  #match(name) {
    return this.#cache.match(addressOf(`${this.#id}/${name}`));
  }

  /**
   * @param {string} name
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  async #put(name, bytes) {
    const headers = { "content-length": String(bytes.length) };
    await this.#cache.put(addressOf(`${this.#id}/${name}`), new Response(bytes, { headers }));
  }
}

/**
 * @param {string} path
 * @returns {string} a URL that no server has
 */
function addressOf(path) {
  return `https://kept.invalid/${path}`;
}
