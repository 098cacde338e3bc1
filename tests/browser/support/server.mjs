// A static server on localhost that records requests, and can misbehave if a test wants that.

import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";

/** @import { IncomingMessage, ServerResponse } from "node:http" */
/** @import { AddressInfo } from "node:net" */

/** @typedef {(request: IncomingMessage, response: ServerResponse) => void | Promise<void>} Answer */

/**
 * How a server with range requests misbehaves.
 * @typedef {object} PartFaults
 * @property {string | null} [etag] `"one"` by default
 * @property {(from: number) => number} [cutAfter] bytes after which a response that begins at `from` is cut off
 * @property {(from: number) => number} [silentAfter] bytes after which nothing more is sent
 * @property {number} [shift] offset of the sent range from the requested one; its header has the offset too
 * @property {(bytes: Buffer) => Buffer} [change] of the whole file
 * @property {number} [bytesPerSecond]
 */

/** @type {Record<string, string>} */
export const CONTENT_TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

export class StaticServer {
  /** @type {string[]} paths in the order of the requests */
  requests = [];
  /** @type {string[]} paths whose responses the client has aborted */
  cutOff = [];
  /** @type {string[]} requested ranges, as `from-to`, of the files that {@link parts} serves */
  ranges = [];
  /** @type {(string | undefined)[]} the `If-Range` of each */
  conditions = [];
  /** Bytes of bodies that {@link parts} has written. */
  sent = 0;
  #root;
  #headers;
  #always;
  /** @type {Map<string, Answer>} */
  #answers = new Map();
  #server = createServer((request, response) => this.#serve(request, response));

  /**
   * @param {string} root the folder to serve
   * @param {Record<string, string>} [headers] sent with every response
   * @param {(path: string) => Answer | null} [always] the default answer for a path; `null` for a plain file
   */
  constructor(root, headers = {}, always = () => null) {
    this.#root = root;
    this.#headers = headers;
    this.#always = always;
  }

  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return this;
  }

  get origin() {
    return `http://127.0.0.1:${/** @type {AddressInfo} */ (this.#server.address()).port}`;
  }

  /**
   * Sets the answer for `path`.
   * @param {string} path
   * @param {Answer} answer
   * @returns {string} the whole URL
   */
  answer(path, answer) {
    this.#answers.set(path, answer);
    return this.origin + path;
  }

  /** Makes it a plain static server again, with an empty record. */
  reset() {
    this.#answers.clear();
    this.requests = [];
    this.cutOff = [];
    this.ranges = [];
    this.conditions = [];
    this.sent = 0;
  }

  /**
   * Answers as a good file server does, with range requests, an ETag and `If-Range`, except for the given faults.
   * @param {string} path
   * @param {string} source the file
   * @param {PartFaults} [faults]
   * @returns {string} the whole URL
   */
  parts(path, source, { etag = '"one"', cutAfter, silentAfter, shift = 0, change = (bytes) => bytes, bytesPerSecond } = {}) {
    return this.answer(path, async (request, response) => {
      const whole = change(await readFile(source));
      const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
      const ifRange = /** @type {string | undefined} */ (request.headers["if-range"]);
      const part = asked && (ifRange === undefined || ifRange === etag);
      const from = part ? Number(asked[1]) + shift : 0;
      const to = part && asked[2] ? Math.min(Number(asked[2]) + shift + 1, whole.length) : whole.length;
      this.conditions.push(ifRange);
      this.ranges.push(asked ? `${asked[1]}-${asked[2]}` : "");
      if (etag !== null) response.setHeader("etag", etag);
      response.setHeader("content-type", "application/octet-stream");
      if (from >= whole.length) {
        response.writeHead(416, { "content-range": `bytes */${whole.length}` }).end();
        return;
      }
      if (part) response.setHeader("content-range", `bytes ${from}-${to - 1}/${whole.length}`);
      response.writeHead(part ? 206 : 200, { "accept-ranges": "bytes", "content-length": to - from });
      const stop = Math.min(to, from + (cutAfter?.(from) ?? silentAfter?.(from) ?? Infinity));
      const step = bytesPerSecond ? Math.ceil(bytesPerSecond / 50) : 1 << 16;
      for (let at = from; at < stop && !response.destroyed; at += step) {
        const bytes = whole.subarray(at, Math.min(at + step, stop));
        this.sent += bytes.length;
        await new Promise((resolve) => response.write(bytes, resolve));
        if (bytesPerSecond) await pause(20);
      }
      if (stop === to) response.end();
      else if (cutAfter) {
        await pause(30); // so that the written bytes arrive
        response.destroy();
      }
    });
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  async #serve(request, response) {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    this.requests.push(path);
    response.on("close", () => {
      if (!response.writableFinished) this.cutOff.push(path);
    });
    for (const [name, value] of Object.entries(this.#headers)) response.setHeader(name, value);
    const answer = this.#answers.get(path) ?? this.#always(path) ?? file(join(this.#root, normalize(path.endsWith("/") ? `${path}index.html` : path)));
    await answer(request, response);
  }
}

/**
 * @param {string} path
 * @returns {Answer}
 */
export function file(path) {
  return async (_request, response) => {
    const found = await stat(path).catch(() => null);
    if (!found?.isFile()) {
      status(404)(_request, response);
      return;
    }
    response.writeHead(200, { "content-type": contentType(path), "content-length": found.size });
    createReadStream(path).pipe(response);
  };
}

/**
 * @param {number} code
 * @returns {Answer}
 */
export function status(code) {
  return (_request, response) => {
    response.writeHead(code, { "content-type": "text/plain" }).end(`status ${code}`);
  };
}

/**
 * For `/samples.json`: without samples, the page embeds nothing by itself.
 * @type {Answer}
 */
export function noSamples(_request, response) {
  response.end('{ "samples": [], "drawing": [] }');
}

/**
 * @param {Answer} answer to the first request
 * @param {Answer} then to later requests
 * @returns {Answer}
 */
export function atFirst(answer, then) {
  let asked = 0;
  return (request, response) => (asked++ === 0 ? answer : then)(request, response);
}

/**
 * An error page with status 200, which many hosts send for a missing file.
 * @param {string} type its content type
 * @returns {Answer}
 */
export function webPage(type) {
  return (_request, response) => {
    response.writeHead(200, { "content-type": type }).end("\n<!DOCTYPE html><title>Not here</title><p>Not here.");
  };
}

/**
 * In pieces, without a Content-Length.
 * @param {string} path
 * @returns {Answer}
 */
export function withoutLength(path) {
  return async (_request, response) => {
    response.writeHead(200, { "content-type": contentType(path) });
    createReadStream(path).pipe(response);
  };
}

/**
 * The first bytes of a file as if they were all: a file that was truncated before it was uploaded.
 * @param {string} path
 * @param {number} length
 * @returns {Answer}
 */
export function truncatedFile(path, length) {
  return async (_request, response) => {
    const bytes = (await readFile(path)).subarray(0, length);
    response.writeHead(200, { "content-type": contentType(path), "content-length": length }).end(bytes);
  };
}

/**
 * Announces the whole length, but cuts the connection earlier.
 * @param {string} path
 * @param {number} length
 * @returns {Answer}
 */
export function cutConnection(path, length) {
  return async (_request, response) => {
    const bytes = await readFile(path);
    response.writeHead(200, { "content-type": contentType(path), "content-length": bytes.length });
    response.write(bytes.subarray(0, length), () => response.destroy());
  };
}

/**
 * Compressed during the transfer: Content-Length counts the compressed bytes.
 * @param {string} path
 * @returns {Answer}
 */
export function gzipped(path) {
  return async (_request, response) => {
    const bytes = gzipSync(await readFile(path), { level: 1 });
    response.writeHead(200, { "content-type": contentType(path), "content-encoding": "gzip", "content-length": bytes.length });
    response.end(bytes);
  };
}

/**
 * The first part at once, and the rest when `proceed` resolves.
 * @param {string} path
 * @param {number} length
 * @param {Promise<void>} proceed
 * @returns {Answer}
 */
export function stalled(path, length, proceed) {
  return async (_request, response) => {
    const bytes = await readFile(path);
    response.writeHead(200, { "content-type": contentType(path), "content-length": bytes.length });
    response.write(bytes.subarray(0, length));
    await proceed;
    response.end(bytes.subarray(length));
  };
}

/**
 * At an even pace.
 * @param {string} path
 * @param {number} bytesPerSecond
 * @returns {Answer}
 */
export function slow(path, bytesPerSecond) {
  return async (_request, response) => {
    const { size } = await stat(path);
    response.writeHead(200, { "content-type": contentType(path), "content-length": size });
    const source = await open(path);
    for await (const chunk of source.createReadStream({ highWaterMark: Math.ceil(bytesPerSecond / 20) })) {
      if (response.destroyed) return;
      response.write(chunk);
      await pause(50);
    }
    response.end();
  };
}

/** @param {string} path */
function contentType(path) {
  return CONTENT_TYPES[extname(path)] ?? "application/octet-stream";
}
