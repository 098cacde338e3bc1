// What is kept of one file: pieces, each of which begins somewhere in it and has no gap, so that what has come of an
// interrupted download, or of one tower, is there at the next visit.

import { merged, pairs } from "../shared/ranges.js";

/** @import { Folder, PieceReader, PieceWriter } from "./backend.js" */
/** @import { Tower } from "../shared/protocol.js" */

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
 * @property {number} version of what conversions make
 * @property {number[]} done the parts that are written, as `from, to, from, to, …`
 * @property {(string | null)[]} etags of the checkpoint's files
 */

/** @typedef {{ from: number, to: number }} Piece bytes of the file */

/** Beside the pieces, whose names are numbers. */
const ABOUT = "about.json";

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
    const about = await readAbout(folder);
    const list = about ? (await folder.list()).filter(({ name }) => name !== ABOUT) : [];
    const pieces = about?.conversion
      ? pairs(about.conversion.done).map(([from, to]) => ({ from, to }))
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
    await this.#folder.writeText(ABOUT, JSON.stringify(about));
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
    return merged(this.#pieces);
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

/** @param {Piece} piece */
function sizeOf({ from, to }) {
  return to - from;
}

/**
 * @param {Folder} folder
 * @returns {Promise<About | null>} `null` also where it was cut short: then what is kept cannot be trusted
 */
export async function readAbout(folder) {
  const text = await folder.readText(ABOUT);
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
