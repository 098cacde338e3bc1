// Servers that answer anything: a file is read correctly or not at all, and every failure has a code.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isCheckpoint, openCheckpoint } from "../../www/lib/weights/checkpoint-files.js";
import { ClipError } from "../../www/lib/shared/error.js";
import "../../www/node.js";
import { environment } from "../../www/lib/shared/environment.js";
import { FileChanged, RemoteFile } from "../../www/lib/weights/remote-file.js";
import { record } from "../reliability/record.mjs";
import { damaged } from "./damaged.mjs";

/** @import { TestContext } from "node:test" */

/** More of them search longer. */
const RUNS = Number(process.env.CLIP_WASM_FLIPS ?? 400);
/** Milliseconds for all of a test's runs. */
const TIMEOUT = 60_000 + 10 * RUNS;
const FILE = Uint8Array.from({ length: 1000 }, (_, place) => (place * 31) % 251);

/**
 * One response of a server, as a change to the right one.
 * @typedef {object} Fault
 * @property {"none" | "whole" | "status" | "down" | "cut" | "longer" | "headers" | "page"} kind
 * @property {number} status
 * @property {Record<string, string>} headers that replace the right ones
 * @property {number} share of the body that is sent before it is cut
 */

const HEADER = fc.oneof(
  fc.record({ "content-range": fc.constantFrom("bytes 0-9/1000", "bytes 5-1/1000", "bytes */1000", "bytes 0-999/*", "bytes 0-18446744073709551615/18446744073709551616", "bytes=0-9/1000", "", "items 0-9/10", "bytes 0-9/0") }),
  fc.record({ etag: fc.constantFrom('"a"', 'W/"a"', '"b"', '"a-gzip"', "", "a", '""') }),
  fc.record({ "content-length": fc.constantFrom("0", "1", "1000", "999999999999999999999", "-5", "a", "1e3", "", "10, 10") }),
  fc.record({ "content-encoding": fc.constant("gzip"), "content-length": fc.constantFrom("10", "1000") }),
  fc.record({ "content-type": fc.constantFrom("text/html", "text/html; charset=utf-8", "", "a/b") }),
);

/** @type {fc.Arbitrary<Fault>} */
const FAULT = fc.record({
  kind: /** @type {fc.Arbitrary<Fault["kind"]>} */ (fc.constantFrom("none", "none", "whole", "status", "down", "cut", "longer", "headers", "headers", "page")),
  status: fc.constantFrom(200, 206, 204, 301, 400, 403, 404, 408, 416, 429, 500, 503),
  headers: HEADER,
  share: fc.double({ min: 0, max: 1, noNaN: true }),
});

/**
 * @param {Uint8Array<ArrayBuffer>} file
 * @param {Fault[]} faults one for each response; later responses are right
 * @returns {typeof environment.fetch}
 */
function server(file, faults) {
  let asked = 0;
  return async (_, options = {}) => {
    const fault = faults[asked++] ?? { kind: "none", status: 200, headers: {}, share: 1 };
    const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(options.headers).get("range") ?? "");
    if (fault.kind === "down") throw new TypeError("fetch failed");
    if (fault.kind === "status" && fault.status >= 300) return new Response("wrong", { status: fault.status });
    if (fault.kind === "page") return new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
    const part = range !== null && fault.kind !== "whole";
    const from = part ? Number(range?.[1]) : 0;
    const to = part && range?.[2] ? Math.min(Number(range[2]) + 1, file.length) : file.length;
    if (from >= file.length) return new Response(null, { status: 416, headers: { "content-range": `bytes */${file.length}` } });
    const headers = new Headers({ "content-length": String(to - from), etag: '"a"' });
    if (part) headers.set("content-range", `bytes ${from}-${to - 1}/${file.length}`);
    if (fault.kind === "headers") for (const [name, value] of Object.entries(fault.headers)) headers.set(name, value);
    const body = file.subarray(from, to);
    const given = fault.kind === "cut" ? body.subarray(0, Math.floor(body.length * fault.share)) : body;
    const stream = new ReadableStream({
      type: "bytes",
      start(controller) {
        if (given.length > 0) controller.enqueue(given.slice());
        if (fault.kind === "cut") controller.error(new TypeError("terminated"));
        else controller.close();
      },
    });
    return new Response(stream, { status: part ? 206 : 200, headers });
  };
}

/**
 * Replaces `fetch` for this test, and removes the pauses between retries.
 * @param {TestContext} t
 */
function withoutPauses(t) {
  const { fetch, wait } = environment;
  environment.wait = async () => {};
  t.after(() => void Object.assign(environment, { fetch, wait }));
}

/** @param {{ size: number | null, toldSize: number | null, etag: string | null }} known */
function remote(known) {
  return new RemoteFile(["https://a.test/m.gguf", "https://b.test/m.gguf"], {
    ...known,
    cache: "default",
    access: null,
    idleTimeout: 60_000,
    signal: new AbortController().signal,
    passed: async () => {},
  });
}

/**
 * @param {RemoteFile} file
 * @param {number} step bytes to read at a time
 * @returns {Promise<Uint8Array | Error>}
 */
async function readAll(file, step) {
  const parts = [];
  let position = 0;
  try {
    for (;;) {
      const bytes = await file.read(position, step === 0 ? Infinity : position + step);
      if (!bytes) return Buffer.concat(parts);
      assert.ok(bytes.length > 0 && (step === 0 || bytes.length <= step), `${bytes.length} bytes where at most ${step} were asked for`);
      parts.push(bytes.slice());
      position += bytes.length;
      assert.ok(position <= 2 * FILE.length, "it goes on after the file's end");
    }
  } catch (error) {
    if (error instanceof ClipError || error instanceof FileChanged) return error;
    throw error;
  } finally {
    file.close();
  }
}

test("a file whose server fails in any way is read completely, or an error says why not", { timeout: TIMEOUT }, async (t) => {
  withoutPauses(t);
  let failed = 0;
  const known = fc.record({
    size: fc.constantFrom(null, 1000, 999, 0),
    toldSize: fc.constantFrom(null, null, 1000, 5),
    etag: fc.constantFrom(null, null, '"a"', 'W/"a"', '"b"'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(FAULT, { maxLength: 8 }), known, fc.constantFrom(0, 1000, 300, 77), async (faults, known, step) => {
      environment.fetch = server(FILE, faults);
      const read = await readAll(remote(known), step);
      if (read instanceof Error) {
        failed++;
        return;
      }
      // A size that is known before is trusted, and so is a header that the body does not contradict.
      const believed = known.toldSize === 5 || faults.some(({ kind }) => kind === "headers");
      if (believed) assert.deepEqual(read, Buffer.from(FILE.subarray(0, read.length)), "a part of the file");
      else assert.deepEqual(read, Buffer.from(FILE), "the file");
    }),
    { numRuns: RUNS },
  );
  assert.ok(failed > RUNS / 20, `only ${failed} of ${RUNS} failed`);
  record({
    section: "inputs",
    what: "responses of servers",
    tried: `${RUNS.toLocaleString("en")} reads of a file with up to 8 wrong answers each: status, headers, length, cut`,
    outcome: "exactly the file's bytes, or an error with a code; every read ends",
  });
});

const INDEX_URL = "https://hub.test/model.safetensors.index.json";
const RIGHT_INDEX = { metadata: { total_size: 20 }, weight_map: { a: "model-1.safetensors", b: "model-2.safetensors" } };

/** Names of files that are in other places, or invalid. */
const NAME = fc.oneof(
  fc.constantFrom("..", ".", "", "../x", "/x", "\\x", "https:evil.test", "http:evil.test", "http:[", "data:,x", "a?b", "a#b", "%2e%2e", "%2Fx", "\t//x", "file:x", "blob:x", "a b.safetensors", "\ud800"),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.webUrl(),
);

const INDEX = fc.oneof(
  damaged(new TextEncoder().encode(JSON.stringify(RIGHT_INDEX))),
  NAME.map((name) => JSON.stringify({ weight_map: { a: name } })),
  fc.jsonValue().map((value) => JSON.stringify({ weight_map: value })),
  fc.jsonValue().map((value) => JSON.stringify({ ...RIGHT_INDEX, metadata: value })),
  fc.jsonValue().map((value) => JSON.stringify(value)),
);

test("an index that names files outside its own folder is refused", { timeout: TIMEOUT }, async (t) => {
  withoutPauses(t);
  const folder = new URL(".", INDEX_URL).href;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(INDEX, async (index) => {
      environment.fetch = async (url) => (url === INDEX_URL ? new Response(index) : new Response(null, { status: 404 }));
      const opened = await open(INDEX_URL);
      if (opened instanceof ClipError) {
        refused++;
        assert.equal(opened.code, "malformed_model", opened.message);
        return;
      }
      for (const { name } of opened.files) {
        const { href, pathname, search, hash } = new URL(name);
        assert.ok(href.startsWith(folder) && pathname.length > 1 && search === "" && hash === "", `${name} is not beside the index`);
        assert.equal(pathname.lastIndexOf("/"), 0, `${name} is not beside the index`);
      }
    }),
    { numRuns: RUNS },
  );
  assert.ok(refused > RUNS / 4, `only ${refused} of ${RUNS} were refused`);
  record({
    section: "inputs",
    what: "indices of checkpoints",
    tried: `${RUNS.toLocaleString("en")} indices, damaged or with names of files elsewhere`,
    outcome: "none leads outside its folder; those without a valid name are refused as malformed_model",
  });
});

test("any URL is opened, or refused with a code", { timeout: TIMEOUT }, async (t) => {
  withoutPauses(t);
  environment.fetch = async () => new Response(null, { status: 404 });
  const path = fc.oneof(fc.webPath(), fc.string({ unit: fc.constantFrom(..."%/.aE0\ud800é\\:@ "), maxLength: 30 }).map((path) => `/${path}`));
  const addresses = fc.tuple(path, fc.constantFrom("/model.safetensors", "/resolve/main/model.safetensors", "/model.safetensors.index.json"));
  await fc.assert(
    fc.asyncProperty(addresses, async ([path, end]) => {
      const url = new URL(`https://hub.test${path}${end}`).href;
      assert.ok(isCheckpoint(url), url);
      const opened = await open(url);
      if (opened instanceof ClipError) assert.equal(opened.code, "http_status", opened.message);
      else assert.equal(typeof opened.companions.name, "string");
    }),
    { numRuns: RUNS },
  );
});

/** @param {string} url */
async function open(url) {
  const options = { mirrors: [], access: null, keep: false, idleTimeout: 60_000, limits: {}, signal: new AbortController().signal, onWarning: () => assert.fail("it warned") };
  try {
    return await openCheckpoint(url, options, []);
  } catch (error) {
    if (error instanceof ClipError) return error;
    throw error;
  }
}
