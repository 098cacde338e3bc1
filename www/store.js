// Where weights are kept between visits: the origin private file system, or the Cache API where that is
// missing. A file is kept as pieces, each of which begins somewhere in it and has no gap, so that what has come
// of an interrupted download, or of one tower, is there at the next visit.

import { ClipError } from "./error.js";

/** @import { Tower } from "./loading.js" */

/**
 * What is known of a file, written before its first byte.
 * @typedef {object} About
 * @property {string} url
 * @property {number | null} size bytes of the whole file, `null` where its server did not tell
 * @property {string | null} etag
 * @property {string | null} sha256 of the whole file, once it has been found right
 * @property {Tower[]} towers that have come, one by one
 * @property {boolean} whole whether all towers that the file has have come
 * @property {Conversion} [conversion] of a file that is made here from a checkpoint, and written in no order
 */

/**
 * @typedef {object} Conversion
 * @property {number[]} done the parts that are written, as `from, to, from, to, …`
 * @property {(string | null)[]} etags of the checkpoint's files
 */

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

/** @typedef {{ from: number, to: number }} Piece bytes of the file */

/**
 * @typedef {object} Folder what is kept of one file
 * @property {number} pieceSize bytes of a piece at most; where there is no such bound, it is written anywhere
 * @property {() => Promise<{ name: string, size: number }[]>} list
 * @property {() => Promise<string | null>} readAbout
 * @property {(text: string) => Promise<void>} writeAbout
 * @property {(name: string) => Promise<PieceReader>} reader
 * @property {(name: string, size: number) => Promise<PieceWriter>} writer of a piece that has so many bytes
 */

/** @typedef {{ read: (from: number, to: number) => Promise<Uint8Array>, close: () => void }} PieceReader */
/** @typedef {{ write: (bytes: Uint8Array, at: number) => void, close: () => Promise<void> }} PieceWriter */

/** @typedef {{ folder: (id: string) => Promise<Folder>, ids: () => Promise<string[]>, remove: (id: string) => Promise<void> }} Backend */

const NAME = "clip-wasm-models";
const ABOUT = "about.json";
/** A handle of a worker that was ended is free again after a moment. */
const HANDLE_TRIES = 40;
const HANDLE_PAUSE = 50;

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
        return new Store(await open());
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
    const folder = await this.#backend.folder(await idOf(url));
    return parseAbout(await folder.readAbout());
  }

  /** @returns {Promise<KeptModel[]>} */
  async list() {
    const models = [];
    for (const id of await this.#backend.ids()) {
      const { about, keptSize } = await KeptFile.open(await this.#backend.folder(id), async () => {});
      if (!about) continue;
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
 * The Web Lock of a model: whoever adds to what is kept of it, or deletes it, has it alone; readers share it.
 * @template T
 * @param {string} url
 * @param {LockOptions} options
 * @param {(lock: Lock | null) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function modelLock(url, options, work) {
  if (!globalThis.navigator?.locks) return work(null);
  let asked = false;
  const lock = navigator.locks.request(`${NAME} ${url}`, options, (lock) => {
    asked = true;
    return work(lock);
  });
  return lock.catch((error) => {
    // A frame without an origin of its own has no locks, nor anything that they would guard.
    if (asked || nameOf(error) !== "SecurityError") throw error;
    return work(null);
  });
}

/** What is kept of one file. */
export class KeptFile {
  #folder;
  #remove;
  /** In their order. */
  #pieces;
  /** Where the piece begins that is being read, or written. @type {{ start: number, reader: PieceReader } | null} */
  #reading = null;
  /** @type {{ start: number, writer: PieceWriter } | null} */
  #writing = null;

  /**
   * @param {Folder} folder
   * @param {Piece[]} pieces
   * @param {About | null} about
   * @param {() => Promise<void>} remove
   */
  constructor(folder, pieces, about, remove) {
    this.#folder = folder;
    this.#pieces = pieces;
    this.#remove = remove;
    /** @readonly */
    this.about = about;
  }

  /**
   * @param {Folder} folder
   * @param {() => Promise<void>} remove
   */
  static async open(folder, remove) {
    const about = parseAbout(await folder.readAbout());
    const list = about ? await folder.list() : [];
    const pieces = about?.conversion
      ? partsOf(about.conversion.done)
      : list.map(({ name, size }) => ({ from: Number(name), to: Number(name) + size }));
    return new KeptFile(folder, pieces.sort((a, b) => a.from - b.from), about, remove);
  }

  /** Whether it may be written in any order. */
  get anyOrder() {
    return this.#folder.pieceSize === Infinity;
  }

  /** Bytes. */
  get keptSize() {
    let size = 0;
    let end = 0;
    for (const { from, to } of this.#pieces) {
      size += Math.max(0, to - Math.max(from, end));
      end = Math.max(end, to);
    }
    return size;
  }

  /**
   * How far the file is kept from a place on; the place itself where it is not.
   * @param {number} position
   */
  keptTo(position) {
    let end = position;
    for (const { from, to } of this.#pieces) if (from <= end && to > end) end = to;
    return end;
  }

  /**
   * Where the next piece after a place begins.
   * @param {number} position not kept itself
   */
  nextPiece(position) {
    return this.#pieces.find(({ from }) => from > position)?.from ?? Infinity;
  }

  /**
   * @param {number} position which is kept
   * @param {number} end
   * @returns {Promise<Uint8Array>} bytes from there on, at most to `end`; the next call may overwrite them
   */
  async read(position, end) {
    const piece = this.#pieces.findLast(({ from, to }) => from <= position && position < to);
    if (!piece) throw new RangeError(`nothing is kept at ${position}`);
    const start = this.#startOf(piece);
    if (this.#reading?.start !== start) {
      await this.close();
      this.#reading = { start, reader: await this.#folder.reader(String(start)) };
    }
    const to = Math.min(end, piece.to);
    return this.#reading.reader.read(position - start, to - start);
  }

  /**
   * Says what the file is, which has to be known before anything of it is kept.
   * @param {About} about
   */
  async describe(about) {
    await this.#folder.writeAbout(JSON.stringify(about));
    /** @type {{ about: About | null }} */ (this).about = about;
  }

  /**
   * Keeps bytes; those that are kept already, a second time not.
   * @param {number} position
   * @param {Uint8Array} bytes
   * @returns {Promise<void>}
   */
  async write(position, bytes) {
    const known = this.keptTo(position) - position;
    if (known >= bytes.length) return;
    if (known > 0) return this.write(position + known, bytes.subarray(known));
    const { pieceSize } = this.#folder;
    let piece = this.#pieces.find((piece) => piece.to === position && sizeOf(piece) < pieceSize);
    if (!piece) {
      piece = { from: position, to: position };
      this.#pieces.push(piece);
      this.#pieces.sort((a, b) => a.from - b.from);
    }
    const start = this.#startOf(piece);
    if (this.#writing?.start !== start) {
      await this.close();
      this.#writing = { start, writer: await this.#folder.writer(String(start), sizeOf(piece)) };
    }
    const room = Math.min(bytes.length, pieceSize - sizeOf(piece));
    this.#writing.writer.write(bytes.subarray(0, room), position - start);
    piece.to += room;
    if (room < bytes.length) await this.write(position + room, bytes.subarray(room));
  }

  /** The parts that are kept, as `from, to, from, to, …`. */
  parts() {
    /** @type {number[]} */
    const parts = [];
    for (const { from, to } of this.#pieces) {
      const end = Number(parts.at(-1) ?? -1);
      if (from > end) parts.push(from, to);
      else parts[parts.length - 1] = Math.max(end, to);
    }
    return parts;
  }

  /**
   * Where the stored piece begins that a part belongs to: what is written in no order is all in one.
   * @param {Piece} piece
   */
  #startOf(piece) {
    return this.about?.conversion ? 0 : piece.from;
  }

  /** Leaves its files, so that others may have them. Reading and writing open them again. */
  async close() {
    const [reading, writing] = [this.#reading, this.#writing];
    this.#reading = null;
    this.#writing = null;
    reading?.reader.close();
    await writing?.writer.close();
  }

  /** Deletes everything of it. */
  async remove() {
    this.#reading?.reader.close();
    this.#reading = null;
    await this.#writing?.writer.close().catch(() => {}); // what could not be written is deleted with the rest
    this.#writing = null;
    this.#pieces = [];
    /** @type {{ about: About | null }} */ (this).about = null;
    await this.#remove();
  }
}

/** @param {number[]} parts `from, to, from, to, …` */
function partsOf(parts) {
  return Array.from({ length: parts.length / 2 }, (_, i) => ({ from: Number(parts[2 * i]), to: Number(parts[2 * i + 1]) }));
}

/** @param {Piece} piece */
function sizeOf({ from, to }) {
  return to - from;
}

/**
 * @param {string} url
 * @returns {Promise<string>} a name that every store allows
 */
async function idOf(url) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string | null} text
 * @returns {About | null} `null` also where it was cut short: then what is kept cannot be trusted
 */
function parseAbout(text) {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** @returns {Promise<Backend>} */
async function openFileSystem() {
  const origin = await navigator.storage.getDirectory();
  const root = await origin.getDirectoryHandle(NAME, { create: true });
  return {
    folder: async (id) => new FileSystemFolder(root, id),
    async ids() {
      const ids = [];
      for await (const id of /** @type {{ keys(): AsyncIterable<string> }} */ (/** @type {unknown} */ (root)).keys()) ids.push(id);
      return ids;
    },
    async remove(id) {
      await untilFree(() => root.removeEntry(id, { recursive: true })).catch((error) => {
        if (nameOf(error) !== "NotFoundError") throw error;
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
    const pieces = [];
    const directory = await this.#directory();
    const entries = /** @type {{ values(): AsyncIterable<FileSystemFileHandle> }} */ (/** @type {unknown} */ (directory));
    for await (const handle of entries.values()) {
      if (handle.name !== ABOUT) pieces.push({ name: handle.name, size: (await handle.getFile()).size });
    }
    return pieces;
  }

  async readAbout() {
    try {
      const directory = await this.#root.getDirectoryHandle(this.#id);
      const handle = await directory.getFileHandle(ABOUT);
      return await (await handle.getFile()).text();
    } catch (error) {
      if (nameOf(error) === "NotFoundError") return null;
      throw error;
    }
  }

  /** @param {string} text */
  async writeAbout(text) {
    const handle = await this.#handle(ABOUT);
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
      // Several may read so at a time, in browsers that know the mode.
      const handle = await openHandle(file, { mode: "read-only" });
      // One for all chunks: a new one each would be as much garbage as the model is large.
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
 * @typedef {object} SyncHandle what the DOM types lack outside of workers
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
      if (nameOf(error) !== "NoModificationAllowedError" || tries === HANDLE_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, HANDLE_PAUSE));
    }
  }
}

/** @returns {Promise<Backend>} */
async function openCache() {
  const cache = await caches.open(NAME);
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

/** An entry of the cache is written as a whole, so what comes is gathered for so long. */
const CACHE_PIECE = 8 << 20;

/** @implements {Folder} */
class CacheFolder {
  pieceSize = CACHE_PIECE;
  /** The piece that is being written, one after the other. @type {Uint8Array<ArrayBuffer> | null} */
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
    const pieces = [];
    for (const path of await this.#keys(`${this.#id}/`)) {
      const name = String(path.split("/")[1]);
      const length = (await this.#cache.match(addressOf(path)))?.headers.get("content-length");
      if (name !== ABOUT) pieces.push({ name, size: Number(length) });
    }
    return pieces;
  }

  async readAbout() {
    return (await this.#match(ABOUT))?.text() ?? null;
  }

  /** @param {string} text */
  async writeAbout(text) {
    await this.#put(ABOUT, new TextEncoder().encode(text));
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
    if (!response) throw new ClipError("io", "what was kept of the model is gone; load it again");
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
 * @returns {string} an address that no server has
 */
function addressOf(path) {
  return `https://kept.invalid/${path}`;
}

/**
 * @param {unknown} error
 * @returns {string | null}
 */
function nameOf(error) {
  return error instanceof DOMException ? error.name : null;
}
