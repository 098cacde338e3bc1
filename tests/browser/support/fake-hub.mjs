// A stand-in for Hugging Face's Hub on localhost: its listing of a repository, its redirects to another host for large
// files, its errors, its tokens, and its CORS headers.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

/** @import { IncomingMessage, ServerResponse } from "node:http" */
/** @import { AddressInfo } from "node:net" */

/**
 * @typedef {object} Repository
 * @property {Record<string, string | Buffer>} files by their paths in the repository: a path on this disk, or contents
 * @property {string[]} [revisions] `main` by default
 * @property {"public" | "private" | "gated"} [visibility]
 * @property {object} [config] of the model, as the listing gives it
 * @property {object} [cardData] the metadata of its model card
 */

/** Headers of which the Hub lets other sites read the values. */
const EXPOSED = "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash";
/** The Hub stores files with these endings apart, and redirects to them. */
const LARGE = /\.(gguf|safetensors|bin|onnx)$/;

/** The commit that every revision is. */
export const COMMIT = "c0ffee".repeat(7).slice(0, 40);

/** A token that may read everything, and one whose account has not accepted the terms of gated models. */
export const TOKEN = "hf_a1B2c3";
export const STRANGER = "hf_stranger";

export class FakeHub {
  /** @type {Record<string, Repository>} by `owner/name` */
  repositories = {};
  /** Requests to the Hub, such as `GET /api/models/…`. @type {string[]} */
  requests = [];
  /** Requests to the host of large files. @type {string[]} */
  stored = [];
  /** The `Authorization` of each request to the host of large files. @type {(string | undefined)[]} */
  tokensAtStore = [];
  /** The name of this host in the addresses of large files. */
  storeHost = "127.0.0.1";
  /** If set, a large file's connection ends after so many bytes. @type {number | null} */
  cutAfter = null;
  /** Whether a part of a large file can be asked for. */
  ranges = true;
  /** Whether the listing has sizes and hashes; some mirrors tell none. */
  details = true;
  /** If set, answers every request instead. @type {((request: IncomingMessage, response: ServerResponse) => void) | null} */
  instead = null;
  #hub = createServer((request, response) => this.#answer(request, response));
  #store = createServer((request, response) => this.#answerStored(request, response));

  async start() {
    for (const server of [this.#hub, this.#store]) await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return this;
  }

  async stop() {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Forgets repositories and requests. */
  reset() {
    Object.assign(this, { repositories: {}, requests: [], stored: [], tokensAtStore: [], cutAfter: null, ranges: true, details: true, instead: null });
  }

  get origin() {
    return originOf(this.#hub);
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  #answer(request, response) {
    const url = new URL(String(request.url), this.origin);
    // Undecoded, so that a revision with slashes is one part.
    const path = url.pathname;
    this.requests.push(`${request.method} ${path}`);
    response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
    response.setHeader("access-control-expose-headers", EXPOSED);
    response.setHeader("vary", "Origin");
    if (request.method === "OPTIONS") {
      response.writeHead(204, { "access-control-allow-methods": "GET, HEAD", "access-control-allow-headers": "authorization, range, content-type" }).end();
      return;
    }
    if (this.instead) return this.instead(request, response);
    const [, api, owner, name, revision, file] = /^(\/api\/models)?\/([^/]+)\/([^/]+)\/(?:revision|resolve)\/([^/]+)(?:\/(.+))?$/.exec(path) ?? [];
    const refuse = (/** @type {number} */ status, /** @type {string | null} */ code, /** @type {string} */ message) => {
      if (code) response.setHeader("x-error-code", code);
      response.writeHead(status, { "content-type": "application/json", "x-error-message": message }).end(JSON.stringify({ error: message }));
    };
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (token !== undefined && token !== TOKEN && token !== STRANGER) return refuse(401, null, "Invalid credentials in Authorization header");
    const repository = this.repositories[`${owner}/${name}`];
    const { visibility = "public", revisions = ["main"], files = {}, ...about } = repository ?? {};
    if (!repository || (visibility === "private" && token !== TOKEN)) return refuse(token ? 404 : 401, "RepoNotFound", "Repository not found");
    if (![COMMIT, ...revisions].includes(decodeURIComponent(String(revision)))) return refuse(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    if (api) {
      const siblings = Object.entries(files).map(([rfilename, source]) => (this.details ? describe(rfilename, bytesOf(source)) : { rfilename }));
      response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
      response.end(JSON.stringify({ id: `${owner}/${name}`, sha: COMMIT, private: visibility === "private", gated: visibility === "gated" && "auto", siblings, ...about }));
      return;
    }
    if (visibility === "gated" && token !== TOKEN) {
      return refuse(token ? 403 : 401, "GatedRepo", `Access to model ${owner}/${name} is restricted.`);
    }
    const source = files[decodeURIComponent(String(file))];
    if (source === undefined) return refuse(404, "EntryNotFound", "Entry not found");
    const bytes = bytesOf(source);
    response.setHeader("x-repo-commit", COMMIT);
    if (LARGE.test(String(file))) {
      const location = `${originOf(this.#store, this.storeHost)}/${owner}/${name}/${file}?signature=1`;
      response.writeHead(302, { location, "x-linked-size": bytes.length, "x-linked-etag": `"${sha256(bytes)}"` }).end();
    } else {
      response.setHeader("content-type", "text/plain; charset=utf-8");
      sendPart(request, response, bytes, gitHash(bytes));
    }
  }

  /**
   * The host of large files, whose URLs are signed: it refuses a second kind of authorization.
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  #answerStored(request, response) {
    const { pathname } = new URL(String(request.url), this.origin);
    this.stored.push(`${request.method} ${pathname}`);
    this.tokensAtStore.push(request.headers.authorization);
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-expose-headers", "*");
    if (request.method === "OPTIONS") return void response.writeHead(200, { "access-control-allow-methods": "GET, HEAD", "access-control-allow-headers": "range" }).end();
    if (request.headers.authorization) return void response.writeHead(400).end("Only one auth mechanism allowed");
    const [, owner, name, ...path] = pathname.split("/");
    const bytes = bytesOf(this.repositories[`${owner}/${name}`]?.files[decodeURIComponent(path.join("/"))] ?? Buffer.alloc(0));
    response.setHeader("content-type", "binary/octet-stream");
    if (!this.ranges) delete request.headers.range;
    sendPart(request, response, bytes, sha256(bytes), this.cutAfter ?? Infinity);
  }
}

/**
 * @param {IncomingMessage} request
 * @param {ServerResponse} response
 * @param {Buffer} bytes of the file
 * @param {string} hash
 * @param {number} [most] bytes after which the connection ends
 */
function sendPart(request, response, bytes, hash, most = Infinity) {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = range ? Number(range[1]) : 0;
  const to = range?.[2] ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length;
  if (range && from >= bytes.length) return void response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
  if (range) response.setHeader("content-range", `bytes ${from}-${to - 1}/${bytes.length}`);
  response.writeHead(range ? 206 : 200, { "accept-ranges": "bytes", etag: `"${hash}"`, "content-length": to - from });
  if (to - from <= most) return void response.end(bytes.subarray(from, to));
  response.write(bytes.subarray(from, from + most), () => response.destroy());
}

/**
 * A file as the listing has it.
 * @param {string} rfilename
 * @param {Buffer} bytes
 */
function describe(rfilename, bytes) {
  const lfs = LARGE.test(rfilename) ? { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {};
  return { rfilename, size: bytes.length, blobId: gitHash(bytes), ...lfs };
}

/** @param {Buffer} bytes */
function gitHash(bytes) {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** @param {Buffer} bytes */
function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * @param {import("node:http").Server} server
 * @param {string} [host]
 */
function originOf(server, host = "127.0.0.1") {
  return `http://${host}:${/** @type {AddressInfo} */ (server.address()).port}`;
}

/** @param {string | Buffer} source */
function bytesOf(source) {
  return typeof source === "string" ? readFileSync(source) : source;
}
