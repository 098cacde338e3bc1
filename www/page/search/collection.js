// The indexed pictures of one model: their vectors are in a worker for searching, and stored for the next visit.

import { ClipError } from "../../clip.js";
import { fullPath } from "./folder.js";
import { Vectors } from "./vectors.js";

/** @import { Entry, Model, NewEntry, PictureDatabase } from "./database.js" */
/** @import { Picture } from "./folder.js" */
/** @import { Terms } from "./matrix.js" */

/**
 * @typedef {object} Listeners
 * @property {(error: unknown) => void} onUnstored called once, when writing fails
 * @property {() => void} [onLost] called when the vectors are lost with their worker
 */

/** Pictures that are written at once. Fewer are written after this many milliseconds at the latest. */
const BATCH = 64;
const LATEST = 2000;

export class Collection {
  #database;
  #keeps;
  #onUnstored;
  #vectors;
  /** @type {Entry[]} by row */
  #entries = [];
  /** @type {Map<string, number>} rows by full path */
  #rows = new Map();
  /** @type {NewEntry[]} not written yet */
  #waiting = [];
  /** @type {Map<string, ArrayBuffer>} by full path, of pictures that are not written yet, or cannot be written */
  #thumbnails = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #written = Promise.resolve();

  /**
   * Use {@link Collection.open}.
   * @param {PictureDatabase | null} database
   * @param {Model} model
   * @param {number} dimension
   * @param {Listeners} listeners
   */
  constructor(database, model, dimension, { onUnstored, onLost = () => {} }) {
    this.#database = database;
    this.#keeps = database !== null;
    this.model = model;
    this.dimension = dimension;
    this.#vectors = new Vectors(dimension, onLost);
    this.#onUnstored = onUnstored;
  }

  /**
   * @param {PictureDatabase | null} database `null` if nothing can be stored: then everything is in memory only
   * @param {Model} model
   * @param {number} dimension of its vectors
   * @param {Listeners} listeners
   */
  static async open(database, model, dimension, listeners) {
    const collection = new Collection(database, model, dimension, listeners);
    if (!database) return collection;
    for await (const entries of database.entries(model)) {
      const whole = entries.filter(({ vector }) => vector.length === dimension);
      const vectors = new Float32Array(whole.length * dimension);
      const first = collection.count;
      for (const [index, { vector, ...entry }] of whole.entries()) {
        vectors.set(vector, index * dimension);
        collection.#entries[first + index] = entry;
        collection.#rows.set(fullPath(entry), first + index);
      }
      collection.#vectors.put(first, vectors);
    }
    return collection;
  }

  /** Number of pictures. */
  get count() {
    return this.#entries.length;
  }

  /** Whether exactly this version of a file has a vector. @param {Picture} picture */
  has(picture) {
    const entry = this.#entries[this.#rows.get(fullPath(picture)) ?? -1];
    return entry?.size === picture.size && entry.lastModified === picture.lastModified;
  }

  /**
   * @param {Picture} picture replaces an earlier file with the same full path
   * @param {Float32Array} vector of unit length
   * @param {ArrayBuffer | null} thumbnail a JPEG file
   */
  add({ folder, path, size, lastModified }, vector, thumbnail) {
    this.addEntry({ folder, path, size, lastModified }, vector, thumbnail);
  }

  /**
   * As {@link add}, of a picture whose file is not there.
   * @param {Entry} entry
   * @param {Float32Array} vector
   * @param {ArrayBuffer | null} thumbnail
   */
  addEntry(entry, vector, thumbnail) {
    this.#place(entry, vector);
    if (thumbnail) this.#thumbnails.set(fullPath(entry), thumbnail);
    if (!this.#keeps) return;
    this.#waiting.push({ ...entry, vector, thumbnail });
    if (this.#waiting.length >= BATCH) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), LATEST);
  }

  /** Writes the pictures that are not written yet. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = this.#waiting;
    this.#waiting = [];
    if (entries.length > 0) this.#written = this.#written.then(() => this.#write(entries));
    return this.#written;
  }

  /** Ranks all pictures by how well they fit. @param {Terms} terms */
  rank(terms) {
    return this.#vectors.rank(terms);
  }

  /**
   * Finds pictures that are nearly the same.
   * @param {number} least cosine
   * @param {{ signal: AbortSignal, onProgress: (share: number) => void }} options
   */
  duplicates(least, options) {
    return this.#vectors.duplicates(least, options);
  }

  /** @param {number} row */
  entry(row) {
    return /** @type {Entry} */ (this.#entries[row]);
  }

  /** @param {Entry} entry @returns {Promise<Float32Array | null>} `null` if that picture is not indexed */
  async vectorOf(entry) {
    const row = this.#rows.get(fullPath(entry));
    return row === undefined ? null : this.#vectors.vectors(Uint32Array.of(row));
  }

  /** Everything, for a file. @returns {Promise<{ entries: Entry[], vectors: Float32Array }>} vectors one after the other */
  async contents() {
    const entries = [...this.#entries];
    return { entries, vectors: await this.#vectors.vectors(Uint32Array.from(entries.keys())) };
  }

  /** Ends the worker that holds the vectors. */
  close() {
    this.#vectors.close();
  }

  /**
   * @param {Entry} entry
   * @returns {Promise<ArrayBuffer | null>} a JPEG file
   */
  async thumbnail(entry) {
    return this.#thumbnails.get(fullPath(entry)) ?? this.#database?.thumbnail(entry).catch(() => null) ?? null;
  }

  /** @returns {Map<string, number>} pictures by folder */
  folders() {
    /** @type {Map<string, number>} */
    const folders = new Map();
    for (const { folder } of this.#entries) folders.set(folder, (folders.get(folder) ?? 0) + 1);
    return folders;
  }

  /**
   * Removes a folder's pictures from memory, or all. After that nothing more is written of them, and the caller can
   * delete them from the database.
   * @param {string} [folder]
   */
  async drop(folder) {
    const stays = (/** @type {Entry} */ entry) => folder !== undefined && entry.folder !== folder;
    await this.flush();
    this.#vectors.keepOnly(Uint32Array.from([...this.#entries.keys()].filter((row) => stays(this.entry(row)))));
    for (const entry of this.#entries) if (!stays(entry)) this.#thumbnails.delete(fullPath(entry));
    this.#entries = this.#entries.filter(stays);
    this.#rows = new Map(this.#entries.map((entry, row) => [fullPath(entry), row]));
  }

  /**
   * @param {Entry} entry
   * @param {Float32Array} vector
   */
  #place(entry, vector) {
    if (vector.length !== this.dimension) {
      throw new ClipError("invalid_input", `a vector has ${vector.length} components, but the others have ${this.dimension}; index the pictures again`);
    }
    const path = fullPath(entry);
    const row = this.#rows.get(path) ?? this.count;
    this.#vectors.put(row, vector);
    this.#entries[row] = entry;
    this.#rows.set(path, row);
  }

  /** @param {NewEntry[]} entries */
  async #write(entries) {
    if (!this.#keeps) return;
    try {
      await this.#database?.put(this.model, entries);
    } catch (error) {
      this.#keeps = false;
      this.#onUnstored(error);
      return;
    }
    for (const { folder, path, thumbnail } of entries) {
      const place = fullPath({ folder, path });
      if (this.#thumbnails.get(place) === thumbnail) this.#thumbnails.delete(place);
    }
  }
}
