// The result as files: the endpoint's JSON, and formats for notebooks and spreadsheets.

import { csvLine } from "../shell/csv.js";
import { npyHeader } from "../shell/npy.js";

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

/** A header, then a row for each input, with a column for each component. @param {Embedded[]} embedded */
function csv(embedded) {
  const width = embedded[0]?.vector.length ?? 0;
  const head = `${["kind", "input", ...Array(width).keys()].join(",")}\r\n`;
  return head + embedded.map(({ kind, source, vector }) => `${kind},${csvLine([source, ...vector])}`).join("");
}

/** `[inputs, dimensions]`, f32. @param {Embedded[]} embedded */
function npy(embedded) {
  const header = npyHeader("'<f4'", [embedded.length, embedded[0]?.vector.length ?? 0]);
  const values = embedded.flatMap(({ vector }) => vector);
  const bytes = new Uint8Array(header.length + 4 * values.length);
  bytes.set(header);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setFloat32(header.length + 4 * index, value, true);
  return bytes;
}
