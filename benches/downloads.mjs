// The sizes of what a first visit downloads, by kind.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { REPOSITORY } from "./browser.mjs";

/** @typedef {{ bytes: number, gzipped: number }} Size `gzipped` as static hosts send it */

/** @typedef {{ wasm: Size, script: Size, model: number }} Downloads `model`: bytes of everything else */

/**
 * @param {Record<string, number>} loaded bytes of each requested file
 * @returns {Promise<Downloads>}
 */
export async function describeDownloads(loaded) {
  const wasm = { bytes: 0, gzipped: 0 };
  const script = { bytes: 0, gzipped: 0 };
  let model = 0;
  for (const [path, bytes] of Object.entries(loaded)) {
    const size = path.endsWith(".wasm") ? wasm : /\.m?js$/.test(path) ? script : null;
    if (!size) {
      model += bytes;
      continue;
    }
    size.bytes += bytes;
    size.gzipped += gzipSync(await readFile(join(REPOSITORY, path)), { level: 9 }).length;
  }
  return { wasm, script, model };
}
