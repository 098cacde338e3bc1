// The endpoint in Node gets valid requests with a few changes. It answers every one in its own format, says what is
// wrong, and keeps answering.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { answerRequest } from "../../www/endpoint.js";
import { ClipEncoder } from "../../www/node.js";
import { FIXTURES } from "../browser/support/browser.mjs";
import { FACTS, record } from "../reliability/record.mjs";
import { damaged } from "./damaged.mjs";

/** @typedef {{ path: string, method: string, contentType: string | null, body: Uint8Array<ArrayBuffer> }} Sent */

const NLP = "api/predict/nlp/project/key";
const FILE = "api/predict/file/project/key";
const OPENAI = "v1/embeddings";
const BOUNDARY = "----boundary7d9";
const CAT = readFileSync(join(FIXTURES, "cat.png"));
/** More of them search longer. */
const RUNS = Number(process.env.CLIP_WASM_FLIPS ?? 400);
/** Milliseconds after which a response counts as missing. */
const LATEST = 5000;

/** The HTTP status of each code that blames the request itself. */
const STATUS = /** @type {Record<string, number>} */ ({
  empty_input: 400,
  invalid_input: 400,
  not_found: 404,
  method_not_allowed: 405,
  image_too_large: 413,
  limit_exceeded: 413,
  unsupported_image: 415,
  unsupported_media_type: 415,
  corrupt_image: 422,
});

/** @type {ClipEncoder} */
let clip;
/** The expected response to the valid request that follows each changed one. @type {string} */
let expected;
before(async () => {
  clip = await ClipEncoder.load(join(dirname(FACTS), "tiny-gelu.q8_0.gguf"));
  expected = await text(json(NLP, { inputs: ["a cat"] }));
});
after(() => clip.close());

/** @param {Sent} sent */
function answer({ path, method, contentType, body }) {
  const headers = contentType === null ? undefined : { "content-type": contentType };
  const bodiless = method === "GET" || method === "HEAD";
  return answerRequest(new Request(`https://site.test/${path}`, { method, headers, body: bodiless ? null : body }), clip);
}

/** @param {Sent} sent */
async function text(sent) {
  const response = await answer(sent);
  assert.equal(response.status, 200);
  return response.text();
}

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);

/**
 * @param {string} path
 * @param {unknown} value
 * @returns {Sent}
 */
function json(path, value) {
  return { path, method: "POST", contentType: "application/json", body: bytes(JSON.stringify(value)) };
}

/** @param {[string, string, Uint8Array][]} parts headers' end, type and content @returns {Sent} */
function form(...parts) {
  const list = parts.flatMap(([disposition, type, content]) => [
    bytes(`--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\nContent-Type: ${type}\r\n\r\n`),
    content,
    bytes("\r\n"),
  ]);
  const body = new Uint8Array(Buffer.concat([...list, bytes(`--${BOUNDARY}--\r\n`)]));
  return { path: FILE, method: "POST", contentType: `multipart/form-data; boundary=${BOUNDARY}`, body };
}

const PICTURE = `data:image/png;base64,${CAT.toString("base64")}`;
const FILE_FIELD = 'name="predict_file"; filename="cat.png"';

/** @type {Sent[]} */
const RIGHT = [
  json(NLP, { inputs: ["a cat", "", "привет 😀"] }),
  json(OPENAI, { input: ["a cat", "two dogs"], model: "clip", encoding_format: "base64", user: "u" }),
  json(OPENAI, { input: PICTURE, encoding_format: "float" }),
  form([FILE_FIELD, "image/png", CAT]),
  form(['name="note"', "text/plain", bytes("a note")], [FILE_FIELD, "image/png", CAT], [FILE_FIELD, "image/png", CAT]),
];

/** Values that replace a field's own. */
const WRONG = fc.oneof(
  fc.constantFrom(null, true, 0, -1, 1e308, "", "\ud800", [], {}, [[]], [null], [1, 2, 3], "data:image/png;base64,%", "data:image/png,%ff"),
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: "grapheme", maxLength: 2000 }),
  fc.array(fc.string(), { maxLength: 50 }),
);

/** JSON with other fields, or written as no library would write it. */
const JSONS = fc.oneof(
  fc.record({ key: fc.constantFrom("inputs", "input", "model", "encoding_format", "dimensions", "__proto__", "constructor"), value: WRONG }).map(({ key, value }) => `{"inputs":["a"],"input":"a",${JSON.stringify(key)}:${JSON.stringify(value)}}`),
  fc.integer({ min: 1, max: 100_000 }).map((depth) => `{"inputs":${"[".repeat(depth)}${"]".repeat(depth)}}`),
  fc.integer({ min: 1, max: 400 }).map((digits) => `{"input":["a"],"dimensions":${"9".repeat(digits)}}`),
  fc.integer({ min: 2040, max: 2060 }).map((count) => `{"input":[${'"",'.repeat(count)}1]}`),
  WRONG.map((value) => JSON.stringify(value)),
);

const sent = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...RIGHT).chain((right) => damaged(right.body).map((body) => ({ ...right, body }))) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom(NLP, OPENAI), JSONS).map(([path, body]) => ({ ...json(path, 0), body: bytes(body) })) },
  {
    weight: 2,
    arbitrary: fc.record({
      path: fc.oneof(fc.constantFrom(NLP, FILE, OPENAI, `${NLP}/`, "api/predict/nlp", "v1/embeddings/x", "%"), fc.webPath()),
      method: fc.constantFrom("POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD"),
      contentType: fc.oneof(
        fc.constantFrom(null, "application/json; charset=utf-7", "APPLICATION/JSON", "text/plain", "multipart/form-data", 'multipart/form-data; boundary=""', "multipart/form-data; boundary=x", `multipart/form-data; boundary=${"b".repeat(5000)}`, ";", "application/jsonx"),
        fc.string({ unit: fc.constantFrom(..."ab/;= ,\"-*"), maxLength: 40 }),
      ),
      body: fc.oneof(fc.constantFrom(...RIGHT.map(({ body }) => body)), fc.uint8Array({ maxLength: 200 }).map((body) => new Uint8Array(body))),
    }),
  },
);

test("any request is answered in the endpoint's format, and the next one as usual", async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(sent, async (/** @type {Sent} */ request) => {
      const response = await inTime(answer(request), LATEST);
      const { status } = response;
      const body = await response.text();
      assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
      const answered = JSON.parse(body);
      if (status === 200) checkVectors(answered);
      else {
        refused++;
        checkError(answered, status, request.path);
      }
      assert.equal(await text(json(NLP, { inputs: ["a cat"] })), expected, "the next request");
    }),
    { numRuns: RUNS },
  );
  assert.ok(refused > RUNS / 4, `only ${refused} of ${RUNS} requests were refused: they are not wrong enough`);
  record({
    section: "inputs",
    what: "requests to the endpoint",
    tried: `${RUNS.toLocaleString("en")} requests with bodies, headers and JSON changed at random`,
    outcome: "each answered in the endpoint's format within 5 s with the right status; a valid request after it works",
  });
});

/** @param {any} answered */
function checkVectors(answered) {
  const vectors = answered.data.map((/** @type {any} */ entry) => entry.embedding ?? entry);
  assert.ok(vectors.length > 0);
  for (const vector of vectors) {
    if (typeof vector === "string") {
      assert.equal(Buffer.from(vector, "base64").length, 4 * clip.info.embeddingDimension);
      continue;
    }
    assert.equal(vector.length, clip.info.embeddingDimension);
    assert.ok(vector.every(Number.isFinite), `${vector}`);
  }
}

/**
 * @param {any} answered
 * @param {number} status
 * @param {string} path
 */
function checkError(answered, status, path) {
  const { code, message } = answered.error;
  assert.equal(status, STATUS[code], `${code}: ${message}`);
  assert.ok(typeof message === "string" && message.length > 0);
  if (/v1\/embeddings\/?$/.test(new URL(`https://site.test/${path}`).pathname)) assert.equal(answered.error.type, "invalid_request_error");
  else assert.equal(answered.status_code, status);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} milliseconds
 * @returns {Promise<T>}
 */
async function inTime(promise, milliseconds) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no answer after ${milliseconds} ms`)), milliseconds)));
  try {
    return await Promise.race([promise, /** @type {Promise<never>} */ (late)]);
  } finally {
    clearTimeout(timer);
  }
}
