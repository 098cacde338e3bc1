// The result as files: the endpoint's JSON, and formats for notebooks and spreadsheets.

/** @import { Embedded } from "./input.js" */

/**
 * @typedef {object} Format
 * @property {string} name in the menu
 * @property {string} extension
 * @property {string} type MIME
 * @property {(embedded: Embedded[]) => string | Uint8Array<ArrayBuffer>} write
 */

/** @type {Format[]} */
export const FORMATS = [
  { name: "JSON", extension: "json", type: "application/json", write: json },
  { name: "JSON Lines", extension: "jsonl", type: "application/jsonl", write: jsonLines },
  { name: "CSV", extension: "csv", type: "text/csv", write: csv },
  { name: "NumPy", extension: "npy", type: "application/octet-stream", write: npy },
];

/**
 * @param {Embedded[]} embedded
 * @returns {string} the endpoint's response, with one vector per line
 */
export function json(embedded) {
  const lines = embedded.map(({ vector }) => `  [${numbers(vector)}]`);
  return `{"data": [\n${lines.join(",\n")}\n], "status_code": 200}\n`;
}

/**
 * @param {number[]} vector
 * @returns {string} separated as in the endpoint's response
 */
export function numbers(vector) {
  return vector.map((value) => JSON.stringify(value)).join(", ");
}

/** A line for each input, with the input and its vector. @param {Embedded[]} embedded */
function jsonLines(embedded) {
  const lines = embedded.map(({ kind, source, vector }) => JSON.stringify({ [kind]: source, embedding: vector }));
  return `${lines.join("\n")}\n`;
}

/** RFC 4180: a header, then a row for each input, with a column for each component. @param {Embedded[]} embedded */
function csv(embedded) {
  const width = embedded[0]?.vector.length ?? 0;
  const head = ["kind", "input", ...Array(width).keys()];
  const rows = embedded.map(({ kind, source, vector }) => [kind, `"${source.replaceAll('"', '""')}"`, ...vector]);
  return [head, ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

/**
 * `[inputs, dimensions]`, f32, row-major, in NumPy's format 1.0 (numpy.lib.format).
 * @param {Embedded[]} embedded
 */
function npy(embedded) {
  const [rows, columns] = [embedded.length, embedded[0]?.vector.length ?? 0];
  const about = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  // Magic, version and length take 10 bytes; the values begin at a multiple of 64.
  const headSize = Math.ceil((10 + about.length + 1) / 64) * 64;
  const head = `\x93NUMPY\x01\x00..${about.padEnd(headSize - 11)}\n`;
  const bytes = new Uint8Array(headSize + 4 * rows * columns);
  bytes.set(Array.from(head, (character) => character.charCodeAt(0)));
  const view = new DataView(bytes.buffer);
  view.setUint16(8, headSize - 10, true);
  const values = embedded.flatMap(({ vector }) => vector);
  for (const [index, value] of values.entries()) view.setFloat32(headSize + 4 * index, value, true);
  return bytes;
}
