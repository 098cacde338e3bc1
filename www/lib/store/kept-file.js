// The stored parts of one file. They are pieces without gaps, each with its position in the file, so that an
// interrupted download, or the load of one tower, can be continued at the next visit.

import { merged, pairs } from "../shared/ranges.js";

/** @import { Folder, PieceReader, PieceWriter } from "./backend.js" */
/** @import { Tower } from "../shared/protocol.js" */

/**
 * What is known of a file. It is written before the file's first byte.
 * @typedef {object} About
 * @property {string} url
 * @property {number | null} size bytes of the whole file, `null` if its server did not send the size
 * @property {string | null} etag
 * @property {string | null} sha256 of the whole file, once it has been verified
 * @property {Tower[]} towers that have been loaded one by one
 * @property {boolean} whole whether all towers of the file have been loaded
 * @property {Conversion} [conversion] of a file that is converted here from a checkpoint, and written in any order
 */

/**
 * @typedef {object} Conversion
 * @property {number} version of the conversion's output
 * @property {number[]} done the parts that are written, as `from, to, from, to, …`
 * @property {(string | null)[]} etags of the checkpoint's files
 */

/** @typedef {{ from: number, to: number }} Piece bytes of the file */

/** The entry beside the pieces, whose names are numbers. */
const ABOUT = "about.json";

/** The stored parts of one file. */
export class KeptFile {
  #folder;
  #remove;
  /** Sorted by position. */
  #pieces;
  /** The piece that is open for reading. @type {{ start: number, reader: PieceReader } | null} */
  #reading = null;
  /** The piece that is open for writing. @type {{ start: number, writer: PieceWriter } | null} */
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
    const about = await readAbout(folder);
    const list = about ? (await folder.list()).filter(({ name }) => name !== ABOUT) : [];
    const pieces = about?.conversion
      ? pairs(about.conversion.done).map(([from, to]) => ({ from, to }))
      : list.map(({ name, size }) => ({ from: Number(name), to: Number(name) + size }));
    return new KeptFile(folder, pieces.sort((a, b) => a.from - b.from), about, remove);
  }

  /** Whether the file can be written in any order. */
  get anyOrder() {
    return this.#folder.pieceSize === Infinity;
  }

  /** Bytes that are stored. */
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
   * The end of the stored bytes that begin at a position; the position itself if none are stored there.
   * @param {number} position
   */
  keptTo(position) {
    let end = position;
    for (const { from, to } of this.#pieces) if (from <= end && to > end) end = to;
    return end;
  }

  /**
   * The start of the next piece after a position.
   * @param {number} position that is not stored itself
   */
  nextPiece(position) {
    return this.#pieces.find(({ from }) => from > position)?.from ?? Infinity;
  }

  /**
   * @param {number} position that is stored
   * @param {number} end
   * @returns {Promise<Uint8Array>} bytes from `position` on, at most to `end`; the next call may overwrite them
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
   * Writes what is known of the file. This must come before its first byte.
   * @param {About} about
   */
  async describe(about) {
    await this.#folder.writeText(ABOUT, JSON.stringify(about));
    /** @type {{ about: About | null }} */ (this).about = about;
  }

  /**
   * Stores bytes. Skips those that are stored already.
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

  /** The ranges that are stored, as `from, to, from, to, …`. */
  parts() {
    return merged(this.#pieces);
  }

  /**
   * Where the stored piece begins that a part is in. A converted model is written in any order, into one piece at 0;
   * otherwise each part is a piece.
   * @param {Piece} piece
   */
  #startOf(piece) {
    return this.about?.conversion ? 0 : piece.from;
  }

  /** Closes the files, so that others can open them. Reading and writing open them again. */
  async close() {
    const [reading, writing] = [this.#reading, this.#writing];
    this.#reading = null;
    this.#writing = null;
    reading?.reader.close();
    await writing?.writer.close();
  }

  /** Deletes everything that is stored of the file. */
  async remove() {
    this.#reading?.reader.close();
    this.#reading = null;
    await this.#writing?.writer.close().catch(() => {}); // a failed write does not matter: everything is deleted
    this.#writing = null;
    this.#pieces = [];
    /** @type {{ about: About | null }} */ (this).about = null;
    await this.#remove();
  }
}

/** @param {Piece} piece */
function sizeOf({ from, to }) {
  return to - from;
}

/**
 * @param {Folder} folder
 * @returns {Promise<About | null>} `null` also if the entry is incomplete: then the stored pieces cannot be trusted
 */
export async function readAbout(folder) {
  const text = await folder.readText(ABOUT);
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
