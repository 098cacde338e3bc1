// Reads the expected values that the Python reference has written.

import { readFileSync } from "node:fs";

/**
 * A safetensors file of f32 matrices: a length, a JSON header, and the values.
 * @param {string} path
 * @returns {(name: string) => number[][]} the rows of a tensor
 */
export function readTensors(path) {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start));
  return (name) => {
    const { dtype, shape, data_offsets: [begin, end] } = header[name];
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
    const values = new Float32Array(file.buffer.slice(file.byteOffset + start + begin, file.byteOffset + start + end));
    const [rows, columns] = shape;
    return Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * columns, (row + 1) * columns)));
  };
}
