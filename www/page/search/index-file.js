// The index of one model as a file: NumPy records of names and vectors.

import { ClipError } from "../../lib/shared/error.js";
import { Slices } from "../shell/slices.js";
import { npyHeader, readRecords, recordType, sizeOf } from "../shell/npy.js";

/** @import { Entry, Model } from "./database.js" */
/** @import { Field, Header } from "../shell/npy.js" */

/**
 * An index that was read from a file.
 * @typedef {object} IndexFile
 * @property {string} model its name and mark, as {@link markOf} gives them
 * @property {number} dimension of each vector
 * @property {Entry[]} entries
 * @property {Float32Array} vectors one after the other
 */

/** Characters that a folder or a path has at most: that many in UTF-32 are stored of each. */
const MOST_CHARACTERS = 4096;
/** How far the length of a vector may be from 1. */
const NORM_TOLERANCE = 1e-3;

/**
 * What says in a file which model its vectors are of: its name, and the beginning of its key's SHA-256.
 * @param {Model} model
 */
export async function markOf({ key, name }) {
  const bytes = new TextEncoder().encode(key);
  // Without a secure context there is no digest: then the name must do.
  const digest = await globalThis.crypto?.subtle?.digest("SHA-256", bytes);
  const hex = digest ? [...new Uint8Array(digest.slice(0, 8))].map((byte) => byte.toString(16).padStart(2, "0")).join("") : "";
  return `${name} ${hex}`.trim();
}

/**
 * @param {IndexFile} index
 * @returns {Promise<Uint8Array<ArrayBuffer>[]>} the parts of the file
 */
export async function writeIndex({ model, dimension, entries, vectors }) {
  const longest = (/** @type {string[]} */ texts) => texts.reduce((most, text) => Math.max(most, [...text].length), 1);
  /** @type {Field[]} */
  const fields = [
    ["folder", `<U${longest(entries.map(({ folder }) => folder))}`],
    ["name", `<U${longest(entries.map(({ path }) => path))}`],
    ["size", "<i8"],
    ["modified", "<i8"],
    ["model", `<U${longest([model])}`],
    ["vector", "<f4", dimension],
  ];
  const [folderSize = 0, nameSize = 0, , , modelSize = 0] = fields.map(sizeOf);
  const stride = fields.reduce((sum, field) => sum + sizeOf(field), 0);
  const bytes = new Uint8Array(entries.length * stride);
  const view = new DataView(bytes.buffer);
  const slices = new Slices();
  for (const [row, { folder, path, size, lastModified }] of entries.entries()) {
    await slices.next();
    let at = row * stride;
    putText(view, at, folder);
    putText(view, (at += folderSize), path);
    view.setBigInt64((at += nameSize), BigInt(size), true);
    view.setBigInt64((at += 8), BigInt(Math.round(lastModified)), true);
    putText(view, (at += 8), model);
    at += modelSize;
    const vector = vectors.subarray(row * dimension, (row + 1) * dimension);
    bytes.set(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength), at);
  }
  return [npyHeader(recordType(fields), [entries.length]), bytes];
}

/**
 * Fails with `invalid_input` for a file that is no such index.
 * @param {Uint8Array} bytes
 * @returns {Promise<IndexFile>}
 */
export async function readIndex(bytes) {
  const header = readRecords(bytes);
  const stride = header.fields.reduce((sum, field) => sum + sizeOf(field), 0);
  const [folder, name, model] = ["folder", "name", "model"].map((field) => place(header, field, /^<U/));
  const [size, modified] = ["size", "modified"].map((field) => place(header, field, /^<i8$/));
  const vector = place(header, "vector", /^<f4$/, true);
  const dimension = vector.count;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Entry[]} */
  const entries = [];
  const vectors = new Float32Array(header.rows * dimension);
  const modelName = header.rows > 0 ? textAt(view, header.start, model) : "";
  const slices = new Slices();
  for (let row = 0; row < header.rows; row++) {
    await slices.next();
    const at = header.start + row * stride;
    entries.push({
      folder: textAt(view, at, folder),
      path: textAt(view, at, name),
      size: Number(view.getBigInt64(at + (size?.offset ?? 0), true)),
      lastModified: Number(view.getBigInt64(at + (modified?.offset ?? 0), true)),
    });
    if (textAt(view, at, model) !== modelName) throw new ClipError("invalid_input", "this index has vectors of several models; import each model's own");
    for (let i = 0; i < dimension; i++) vectors[row * dimension + i] = view.getFloat32(at + vector.offset + 4 * i, true);
    const norm = Math.hypot(...vectors.subarray(row * dimension, (row + 1) * dimension));
    if (!(Math.abs(norm - 1) < NORM_TOLERANCE)) throw new ClipError("invalid_input", `the vector of ${entries[row]?.path} does not have unit length`);
  }
  return { model: modelName, dimension, entries, vectors };
}

/** @typedef {{ offset: number, count: number, characters: number }} Place of a field within a record */

/**
 * @param {Header} header
 * @param {string} name
 * @param {RegExp} type
 * @param {boolean} [isVector]
 * @returns {Place}
 */
function place({ fields }, name, type, isVector = false) {
  const index = fields.findIndex((field) => field[0] === name && type.test(field[1]));
  const field = fields[index];
  const characters = Number(field?.[1].slice(2)) || 0;
  if (!field || characters > MOST_CHARACTERS || (field[2] !== undefined) !== isVector) throw new ClipError("invalid_input", `this index has no field “${name}” as this page writes it`);
  return { offset: fields.slice(0, index).reduce((sum, before) => sum + sizeOf(before), 0), count: field[2] ?? 1, characters };
}

/**
 * NumPy stores texts in UTF-32, filled up with zeros.
 * @param {DataView} view
 * @param {number} offset
 * @param {string} text
 */
function putText(view, offset, text) {
  for (const [index, character] of [...text].entries()) view.setUint32(offset + 4 * index, character.codePointAt(0) ?? 0, true);
}

/**
 * @param {DataView} view
 * @param {number} record where it begins
 * @param {Place | undefined} field
 */
function textAt(view, record, field) {
  if (!field) return "";
  const codes = [];
  for (let i = 0; i < field.characters; i++) {
    const code = view.getUint32(record + field.offset + 4 * i, true);
    if (code === 0) break;
    codes.push(code <= 0x10ffff ? code : 0xfffd);
  }
  return String.fromCodePoint(...codes);
}
