// Stores files in the origin private file system: a directory for each file, and in it a file for each piece.

import { isDomException } from "../shared/error.js";

/** @import { Backend, Folder } from "./backend.js" */

/**
 * The errors of a file that another tab or worker is using: its handle is taken, or it changed while it was read. It is
 * free again after a moment, even if that worker was terminated.
 */
const IN_USE = ["NoModificationAllowedError", "NotReadableError"];
const HANDLE_TRIES = 40;
const HANDLE_PAUSE = 50;

/**
 * @param {string} name
 * @returns {Promise<Backend>} rejects if the browser has no such file system, or forbids it, as in a private window
 */
export async function openFileSystem(name) {
  const origin = await navigator.storage.getDirectory();
  const root = await origin.getDirectoryHandle(name, { create: true });
  return {
    folder: async (id) => new FileSystemFolder(root, id),
    async ids() {
      const ids = [];
      for await (const id of /** @type {{ keys(): AsyncIterable<string> }} */ (/** @type {unknown} */ (root)).keys()) ids.push(id);
      return ids;
    },
    async remove(id) {
      await untilFree(() => root.removeEntry(id, { recursive: true })).catch((error) => {
        if (!isDomException(error, "NotFoundError")) throw error;
      });
    },
  };
}

/** @implements {Folder} */
class FileSystemFolder {
  pieceSize = Infinity;
  #root;
  #id;

  /**
   * @param {FileSystemDirectoryHandle} root
   * @param {string} id
   */
  constructor(root, id) {
    this.#root = root;
    this.#id = id;
  }

  async list() {
    const entries = [];
    const directory = await this.#directory();
    const files = /** @type {{ values(): AsyncIterable<FileSystemFileHandle> }} */ (/** @type {unknown} */ (directory));
    for await (const handle of files.values()) {
      entries.push({ name: handle.name, size: (await handle.getFile()).size });
    }
    return entries;
  }

  /** @param {string} name */
  async readText(name) {
    try {
      const directory = await this.#root.getDirectoryHandle(this.#id);
      const handle = await directory.getFileHandle(name);
      return await untilFree(async () => (await handle.getFile()).text());
    } catch (error) {
      if (isDomException(error, "NotFoundError")) return null;
      throw error;
    }
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  async writeText(name, text) {
    const handle = await this.#handle(name);
    try {
      handle.truncate(0);
      handle.write(new TextEncoder().encode(text), { at: 0 });
      handle.flush();
    } finally {
      handle.close();
    }
  }

  /** @param {string} name */
  async reader(name) {
    const file = await (await this.#directory()).getFileHandle(name);
    try {
      // In browsers that support this mode, several workers can read at a time.
      const handle = await openHandle(file, { mode: "read-only" });
      // One buffer for all chunks: a new one for each would add up to the size of the model before it is collected.
      let buffer = new Uint8Array();
      return {
        async read(/** @type {number} */ from, /** @type {number} */ to) {
          if (buffer.length < to - from) buffer = new Uint8Array(to - from);
          const bytes = buffer.subarray(0, to - from);
          return bytes.subarray(0, handle.read(bytes, { at: from }));
        },
        close: () => handle.close(),
      };
    } catch {
      const blob = await file.getFile();
      return {
        read: async (/** @type {number} */ from, /** @type {number} */ to) => new Uint8Array(await blob.slice(from, to).arrayBuffer()),
        close() {},
      };
    }
  }

  /** @param {string} name */
  async writer(name) {
    const handle = await this.#handle(name);
    return {
      write(/** @type {Uint8Array} */ bytes, /** @type {number} */ at) {
        if (handle.write(bytes, { at }) < bytes.length) throw new DOMException("the disk is full", "QuotaExceededError");
      },
      async close() {
        handle.close();
      },
    };
  }

  /** @param {string} name */
  async #handle(name) {
    const file = await (await this.#directory()).getFileHandle(name, { create: true });
    return untilFree(() => openHandle(file));
  }

  async #directory() {
    return this.#root.getDirectoryHandle(this.#id, { create: true });
  }
}

/**
 * @typedef {object} SyncHandle a `FileSystemSyncAccessHandle`, which the DOM types do not have outside of workers
 * @property {(bytes: Uint8Array, options: { at: number }) => number} read
 * @property {(bytes: Uint8Array, options: { at: number }) => number} write
 * @property {(size: number) => void} truncate
 * @property {() => void} flush
 * @property {() => void} close
 */

/**
 * @param {FileSystemFileHandle} file
 * @param {{ mode?: "read-only" }} [options]
 * @returns {Promise<SyncHandle>}
 */
function openHandle(file, options) {
  return /** @type {any} */ (file).createSyncAccessHandle(options);
}

/**
 * @template T
 * @param {() => Promise<T>} open
 * @returns {Promise<T>}
 */
async function untilFree(open) {
  for (let tries = 1; ; tries++) {
    try {
      return await open();
    } catch (error) {
      const isInUse = IN_USE.some((name) => isDomException(error, name));
      if (!isInUse || tries === HANDLE_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, HANDLE_PAUSE));
    }
  }
}
