// A `fetch` that also reads `file:` URLs, which Node's own refuses. It answers range requests, as a server does.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { ClipError } from "../shared/error.js";

/** Bytes that are read at a time. */
const CHUNK = 1 << 20;

/**
 * @param {string} url absolute
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} rejects with `io` if there is no such file
 */
export async function fetchOrRead(url, options = {}) {
  if (!url.startsWith("file:")) return fetch(url, options);
  const path = fileURLToPath(url);
  const { size, mtimeMs } = await fileAt(path);
  const headers = new Headers({
    "content-type": path.endsWith(".wasm") ? "application/wasm" : "application/octet-stream",
    etag: `"${size}-${mtimeMs}"`,
  });
  const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(options.headers).get("range") ?? "");
  const from = range ? Number(range[1]) : 0;
  const to = range?.[2] ? Math.min(Number(range[2]) + 1, size) : size;
  if (range && from >= size) {
    headers.set("content-range", `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  if (range) headers.set("content-range", `bytes ${from}-${to - 1}/${size}`);
  headers.set("content-length", String(to - from));
  return new Response(from < to ? read(path, from, to, options.signal) : null, { status: range ? 206 : 200, headers });
}

/** @param {string} path */
async function fileAt(path) {
  const found = await stat(path).catch((cause) => {
    throw new ClipError("io", `${path} cannot be read: ${cause.message}`, { cause });
  });
  if (found.isFile()) return found;
  throw new ClipError("io", `${path} is ${found.isDirectory() ? "a folder" : "a device or a pipe"}, not a file; give the path of a file: an image, or a model's weights`);
}

/**
 * @param {string} path
 * @param {number} from
 * @param {number} to
 * @param {AbortSignal | null} [signal]
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
function read(path, from, to, signal) {
  const stream = createReadStream(path, { start: from, end: to - 1, highWaterMark: CHUNK, signal: signal ?? undefined });
  return /** @type {ReadableStream} */ (Readable.toWeb(stream));
}
