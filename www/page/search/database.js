// Stores indexed pictures between visits, in IndexedDB: vectors by model, thumbnails, and folders.

import { ClipError } from "../../clip.js";

/**
 * A picture whose vector is known.
 * @typedef {object} Entry
 * @property {string} folder
 * @property {string} path
 * @property {number} size bytes of the file. If the size or the date differs, the file is embedded again
 * @property {number} lastModified when the file was changed, in milliseconds since 1970
 */

/** @typedef {Entry & { vector: Float32Array }} EmbeddedEntry */

/** @typedef {EmbeddedEntry & { thumbnail: ArrayBuffer | null }} NewEntry with a JPEG file, if one could be made */

/** @typedef {{ key: string, name: string }} Model `key` differs if the weights differ */

/** @typedef {Model & { folder: string, count: number }} FolderCount pictures of a folder that one model has embedded */

const NAME = "clip-wasm-pictures";
const VERSION = 1;
/** Vectors read at a time: more would hold the page up. */
const PAGE = 250;

/** Vectors are stored by model, folder and path. A picture's thumbnail is the same for every model. */
const STORES = /** @type {const} */ (["models", "vectors", "thumbnails", "folders"]);

export class PictureDatabase {
  #database;

  /** @param {IDBDatabase} database use {@link PictureDatabase.open} */
  constructor(database) {
    this.#database = database;
  }

  /** Rejects if this browser stores nothing, as some do in private windows. */
  static async open() {
    const request = indexedDB.open(NAME, VERSION);
    request.addEventListener("upgradeneeded", () => {
      for (const store of STORES) request.result.createObjectStore(store);
    });
    const database = await resultOf(request);
    database.addEventListener("versionchange", () => database.close()); // a newer page in another tab
    return new PictureDatabase(database);
  }

  /**
   * @param {Model} model
   * @returns {AsyncGenerator<EmbeddedEntry[], void, void>} at most {@link PAGE} at a time
   */
  async *entries({ key }) {
    let range = within(key);
    for (;;) {
      const vectors = this.#database.transaction("vectors").objectStore("vectors");
      const [keys, values] = await Promise.all([
        resultOf(vectors.getAllKeys(range, PAGE)),
        resultOf(vectors.getAll(range, PAGE)),
      ]);
      yield keys.map((place, index) => {
        const [, folder, path] = /** @type {[string, string, string]} */ (place);
        return { folder, path, ...values[index] };
      });
      if (keys.length < PAGE) return;
      range = IDBKeyRange.bound(keys.at(-1), range.upper, true);
    }
  }

  /**
   * Writes all entries or none. Rejects with the browser's error, such as a `QuotaExceededError`.
   * @param {Model} model
   * @param {NewEntry[]} entries
   */
  async put({ key, name }, entries) {
    const transaction = this.#database.transaction(["models", "vectors", "thumbnails"], "readwrite", { durability: "relaxed" });
    transaction.objectStore("models").put({ name }, key);
    for (const { folder, path, size, lastModified, vector, thumbnail } of entries) {
      transaction.objectStore("vectors").put({ size, lastModified, vector }, [key, folder, path]);
      if (thumbnail) transaction.objectStore("thumbnails").put(thumbnail, [folder, path]);
    }
    await doneOf(transaction);
  }

  /**
   * @param {Entry} entry
   * @returns {Promise<ArrayBuffer | null>} a JPEG file
   */
  async thumbnail({ folder, path }) {
    const thumbnails = this.#database.transaction("thumbnails").objectStore("thumbnails");
    return (await resultOf(thumbnails.get([folder, path]))) ?? null;
  }

  /** @returns {Promise<FolderCount[]>} of all models */
  async counts() {
    const transaction = this.#database.transaction(["models", "vectors"]);
    const vectors = transaction.objectStore("vectors");
    /** @type {FolderCount[]} */
    const counts = [];
    for (const [key, folder] of await foldersOf(vectors)) {
      const { name = "" } = (await resultOf(transaction.objectStore("models").get(key))) ?? {};
      counts.push({ key, name, folder, count: await resultOf(vectors.count(within(key, folder))) });
    }
    return counts;
  }

  /**
   * @param {string} folder
   * @param {FileSystemDirectoryHandle} handle
   */
  async putHandle(folder, handle) {
    const transaction = this.#database.transaction("folders", "readwrite");
    transaction.objectStore("folders").put(handle, folder);
    await doneOf(transaction);
  }

  /** @returns {Promise<Map<string, FileSystemDirectoryHandle>>} by folder */
  async handles() {
    const folders = this.#database.transaction("folders").objectStore("folders");
    const [names, handles] = await Promise.all([resultOf(folders.getAllKeys()), resultOf(folders.getAll())]);
    return new Map(names.map((name, index) => [String(name), handles[index]]));
  }

  /**
   * Deletes everything that is stored of a folder, for every model.
   * @param {string} folder
   */
  async forget(folder) {
    const transaction = this.#database.transaction(STORES, "readwrite");
    const vectors = transaction.objectStore("vectors");
    const models = new Set((await foldersOf(vectors)).map(([key]) => key));
    for (const key of models) vectors.delete(within(key, folder));
    transaction.objectStore("thumbnails").delete(within(folder));
    transaction.objectStore("folders").delete(folder);
    await doneOf(transaction);
  }

  /** Deletes everything. */
  async clear() {
    const transaction = this.#database.transaction(STORES, "readwrite");
    for (const store of STORES) transaction.objectStore(store).clear();
    await doneOf(transaction);
  }
}

/**
 * Every model with each of its folders. It skips from folder to folder, without reading thousands of vectors.
 * @param {IDBObjectStore} vectors
 * @returns {Promise<[key: string, folder: string][]>}
 */
function foldersOf(vectors) {
  return new Promise((resolve, reject) => {
    /** @type {[string, string][]} */
    const found = [];
    const request = vectors.openKeyCursor();
    request.addEventListener("error", () => reject(failureOf(request.error)));
    request.addEventListener("success", () => {
      const cursor = request.result;
      if (!cursor) return resolve(found);
      const [key, folder] = /** @type {[string, string, string]} */ (cursor.key);
      found.push([key, folder]);
      cursor.continue(within(key, folder).upper);
    });
  });
}

/** @param {string[]} start of the keys. In IndexedDB's order an array is greater than every string that can follow */
function within(...start) {
  return IDBKeyRange.bound(start, [...start, []]);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(failureOf(request.error)));
  });
}

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>}
 */
function doneOf(transaction) {
  return new Promise((resolve, reject) => {
    transaction.addEventListener("complete", () => resolve());
    transaction.addEventListener("abort", () => reject(failureOf(transaction.error)));
  });
}

/** @param {DOMException | null} error */
function failureOf(error) {
  return error ?? new ClipError("io", "the browser has stopped writing to its database");
}
