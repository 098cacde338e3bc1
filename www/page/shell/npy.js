// NumPy's file format (numpy.lib.format): one array, of numbers or of records.

import { ClipError } from "../../lib/shared/error.js";

/**
 * A field of a record: `[name, type]`, or `[name, type, count]` for a vector. Types are NumPy's: `<f4`, `<i8`, and `<U12`
 * for a text of at most 12 characters.
 * @typedef {[name: string, type: string, count?: number]} Field
 */

/** @typedef {{ fields: Field[], rows: number, start: number }} Header `start`: where the records begin, in bytes */

const MAGIC = "\x93NUMPY";
const TYPE = /^<(f4|i8|U[1-9]\d{0,5})$/;
const FIELD = /\(\s*'([A-Za-z_]\w*)'\s*,\s*'([^']*)'\s*(?:,\s*\(\s*(\d+)\s*,?\s*\)\s*)?\)/y;

/**
 * @param {string} type as NumPy writes it: `'<f4'`, or a list of fields
 * @param {number[]} shape
 * @returns {Uint8Array<ArrayBuffer>} what comes before the values
 */
export function npyHeader(type, shape) {
  const about = `{'descr': ${type}, 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  // Magic, version and length take 10 bytes; the values begin at a multiple of 64.
  const size = Math.ceil((10 + about.length + 1) / 64) * 64;
  const head = `${MAGIC}\x01\x00..${about.padEnd(size - 11)}\n`;
  const bytes = Uint8Array.from(head, (character) => character.charCodeAt(0));
  new DataView(bytes.buffer).setUint16(8, size - 10, true);
  return bytes;
}

/** @param {Field[]} fields @returns {string} for {@link npyHeader} */
export function recordType(fields) {
  const parts = fields.map(([name, type, count]) => `('${name}', '${type}'${count === undefined ? "" : `, (${count},)`})`);
  return `[${parts.join(", ")}]`;
}

/** @param {Field} field @returns {number} bytes */
export function sizeOf([, type, count = 1]) {
  const bytes = type === "<f4" ? 4 : type === "<i8" ? 8 : 4 * Number(type.slice(2));
  return bytes * count;
}

/**
 * Reads the header of a file of records. Fails with `invalid_input` for anything else.
 * @param {Uint8Array} bytes the whole file
 * @returns {Header}
 */
export function readRecords(bytes) {
  const refuse = (/** @type {string} */ reason) => new ClipError("invalid_input", `this is not an index that this page has exported: ${reason}`);
  const text = (/** @type {number} */ from, /** @type {number} */ to) => String.fromCharCode(...bytes.subarray(from, to));
  if (text(0, 6) !== MAGIC) throw refuse("it is no NumPy file (.npy)");
  if (bytes.length < 12) throw refuse("its header is damaged");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isLong = bytes[6] !== 1;
  const length = isLong ? view.getUint32(8, true) : view.getUint16(8, true);
  const from = isLong ? 12 : 10;
  const start = from + length;
  if (length > 1 << 16 || start > bytes.length) throw refuse("its header is damaged");
  const about = text(from, start);
  const rows = /'shape'\s*:\s*\(\s*(\d+)\s*,\s*\)/.exec(about)?.[1];
  const fields = readFields(/'descr'\s*:\s*\[(.*?)\]/s.exec(about)?.[1] ?? "");
  if (rows === undefined || fields === null) throw refuse("it has no names beside its vectors");
  const bad = fields.find(([, type, count = 1]) => !TYPE.test(type) || count < 1);
  if (bad) throw refuse(`its field “${bad[0]}” has the type ${bad[1]}`);
  const wanted = Number(rows) * fields.reduce((sum, field) => sum + sizeOf(field), 0);
  if (bytes.length - start < wanted) throw refuse(`it is cut short: ${bytes.length - start} of ${wanted} bytes`);
  return { fields, rows: Number(rows), start };
}

/**
 * @param {string} text of a list of fields, without its brackets
 * @returns {Field[] | null}
 */
function readFields(text) {
  /** @type {Field[]} */
  const fields = [];
  for (let at = 0; at < text.length; ) {
    FIELD.lastIndex = at;
    const found = FIELD.exec(text);
    if (!found) return null;
    const [whole, name = "", type = "", count] = found;
    fields.push(count === undefined ? [name, type] : [name, type, Number(count)]);
    at += whole.length + (/^[\s,]*/.exec(text.slice(at + whole.length))?.[0].length ?? 0);
  }
  return fields.length > 0 ? fields : null;
}
