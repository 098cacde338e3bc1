// The JavaScript API, used from another page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site, TINY_MODEL } from "../support/browser.mjs";
import { codeOf, pageWithEncoder, written } from "../support/loads.mjs";
import { status, withoutLength } from "../support/server.mjs";

/** @import { ClipError, Progress } from "../../../www/clip.js" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

describe("results", () => {
  test("info", async (t) => {
    const page = await pageWithEncoder(site, t);
    const info = await page.evaluate(() => window.clip.info);
    assert.deepEqual(
      { ...info, name: typeof info.name, preprocessing: typeof info.preprocessing },
      {
        name: "string",
        type: "q8_0",
        towers: ["text", "vision"],
        embeddingDimension: 64,
        activation: "gelu",
        family: "clip",
        logitBias: null,
        imageSize: 64,
        patchSize: 16,
        contextLength: 77,
        vocabularySize: 49408,
        logitScale: 100,
        preprocessing: "object",
        size: readFileSync(TINY_MODEL).length,
        sha256: null,
        source: `${site.hub.origin}/tiny-gelu.q8_0.gguf`,
      },
    );
  });

  test("one vector for each input, in input order, of the model's length", async (t) => {
    const page = await pageWithEncoder(site, t);
    const [both, cat, dog, dimension] = await page.evaluate(async () => {
      const { clip } = window;
      return /** @type {const} */ ([await clip.embedText(["a cat", "a dog"]), await clip.embedText(["a cat"]), await clip.embedText(["a dog"]), clip.info.embeddingDimension]);
    });
    assert.deepEqual(both, { data: [cat.data[0], dog.data[0]], status_code: 200 });
    assert.equal(cat.data[0]?.length, dimension);
  });

  test("the same vector for a File, a Blob, bytes, a buffer and a URL; the caller's bytes stay usable", async (t) => {
    const page = await pageWithEncoder(site, t);
    const { vectors, lengths } = await page.evaluate(async () => {
      const buffer = await (await fetch("images/cat.png")).arrayBuffer();
      const bytes = new Uint8Array(buffer.slice(0));
      const inputs = [new File([buffer], "cat.png"), new Blob([buffer]), bytes, buffer, "images/cat.png", new URL("/images/cat.png", location.href)];
      const { data } = await window.clip.embedImage(inputs);
      return { vectors: data, lengths: [bytes.length, buffer.byteLength] };
    });
    assert.equal(vectors.length, 6);
    for (const [index, vector] of vectors.entries()) {
      assert.deepEqual(vector, vectors[0], `input ${index} differs from input 0`);
    }
    const { length } = readFileSync(join(FIXTURES, "cat.png"));
    assert.deepEqual(lengths, [length, length]);
  });

  test("errorJson, the endpoint's form", async (t) => {
    const page = await pageWithEncoder(site, t);
    assert.deepEqual(await page.evaluate(() => window.clip.embedText([]).catch(window.errorJson)), {
      error: { code: "empty_input", message: "the list of inputs is empty" },
      status_code: 400,
    });
    assert.deepEqual(await page.evaluate(() => window.errorJson(new Error("oh"))), {
      error: { code: "internal", message: "oh" },
      status_code: 500,
    });
  });
});

describe("bad calls have a code, and the encoder keeps working", () => {
  /** @type {{ call: (globals: any) => Promise<unknown>, code: string }[]} */
  const cases = [
    { call: ({ clip }) => clip.embedText([]), code: "empty_input" },
    { call: ({ clip }) => clip.embedImage([]), code: "empty_input" },
    { call: ({ clip }) => clip.embedText("a cat"), code: "invalid_input" },
    { call: ({ clip }) => clip.embedText(), code: "invalid_input" },
    { call: ({ clip }) => clip.embedText(["a cat", 7]), code: "invalid_input" },
    { call: ({ clip }) => clip.embedText([null]), code: "invalid_input" },
    { call: ({ clip }) => clip.embedText([["a cat"]]), code: "invalid_input" },
    { call: ({ clip }) => clip.embedImage([{}]), code: "invalid_input" },
    { call: ({ clip }) => clip.embedImage(["http://"]), code: "invalid_input" },
    { call: ({ clip }) => clip.embedImage([new Uint8Array()]), code: "unsupported_image" },
    { call: ({ clip }) => clip.embedImage([new Blob(["no pixels"])]), code: "unsupported_image" },
    { call: ({ clip }) => clip.embedImage(["images/nowhere.png"]), code: "http_status" },
    { call: ({ clip }) => clip.embedImage(["http://127.0.0.1:9/cat.png"]), code: "network" },
    { call: ({ clip }) => clip.embedText(["a cat"], { signal: AbortSignal.abort() }), code: "aborted" },
    { call: ({ clip }) => clip.embedImage(["images/cat.png"], { signal: AbortSignal.abort() }), code: "aborted" },
    { call: ({ ClipEncoder }) => ClipEncoder.load("weights.gguf", { signal: AbortSignal.abort() }), code: "aborted" },
    { call: ({ ClipEncoder }) => ClipEncoder.load(), code: "invalid_input" },
    { call: ({ ClipEncoder }) => ClipEncoder.load(null), code: "invalid_input" },
    { call: ({ ClipEncoder }) => ClipEncoder.load("http://"), code: "invalid_input" },
    { call: ({ ClipEncoder }) => ClipEncoder.load(new Blob([])), code: "not_a_model" },
  ];
  for (const { call, code } of cases) {
    test(`${written(call)}: ${code}`, async (t) => {
      const page = await pageWithEncoder(site, t);
      assert.equal(await codeOf(page, call), code);
      assert.equal(await page.evaluate(() => window.codeOf(window.clip.embedText(["a cat"]))), "no error");
    });
  }

  test("the message names the input", async (t) => {
    const page = await pageWithEncoder(site, t);
    const message = await page.evaluate(() => window.clip.embedText(["a cat", /** @type {any} */ (7)]).catch((error) => error.message));
    assert.equal(message, "input 1 is a number, not a string");
  });
});

describe("abort", () => {
  test("ends a call between two inputs, and the next call works", async (t) => {
    const page = await pageWithEncoder(site, t);
    const { code, name } = await page.evaluate(async () => {
      const abort = new AbortController();
      const call = window.clip.embedText(Array(500).fill("a photo of a cat"), { signal: abort.signal, onProgress: () => abort.abort() });
      return call.then(() => ({ code: "no error", name: "" }), ({ code, name }) => ({ code, name }));
    });
    assert.deepEqual({ code, name }, { code: "aborted", name: "AbortError" });
    assert.equal(await page.evaluate(() => window.codeOf(window.clip.embedText(["a cat"]))), "no error");
  });

  test("ends a load within 100 ms", async (t) => {
    const page = await pageWithEncoder(site, t);
    site.hub.answer("/never.gguf", (_request, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" });
      response.write(readFileSync(TINY_MODEL).subarray(0, 1000));
    });
    const { code, milliseconds } = await page.evaluate(async (url) => {
      const abort = new AbortController();
      let start = Infinity;
      const onProgress = (/** @type {Progress} */ { loaded }) => {
        if (loaded === 0 || abort.signal.aborted) return;
        start = performance.now();
        abort.abort();
      };
      const code = await window.codeOf(window.ClipEncoder.load(url, { signal: abort.signal, onProgress }));
      return { code, milliseconds: performance.now() - start };
    }, `${site.hub.origin}/never.gguf`);
    assert.equal(code, "aborted");
    assert.ok(milliseconds < 100, `took ${milliseconds} ms`);
  });
});

describe("close", () => {
  test("makes pending and later calls fail", async (t) => {
    const page = await pageWithEncoder(site, t);
    const codes = await page.evaluate(async () => {
      const { clip, codeOf } = window;
      const waiting = codeOf(clip.embedText(["a cat"]));
      clip.close();
      clip.close();
      return [await waiting, await codeOf(clip.embedText(["a cat"]))];
    });
    assert.deepEqual(codes, ["closed", "closed"]);
  });

  test("of one encoder does not affect another", async (t) => {
    const page = await pageWithEncoder(site, t);
    const code = await page.evaluate(async (url) => {
      const other = await window.ClipEncoder.load(url);
      window.clip.close();
      return window.codeOf(other.embedText(["a cat"]));
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.equal(code, "no error");
  });
});

test("a body without a length that is shorter than models.json says is a network error", async (t) => {
  const page = await pageWithEncoder(site, t);
  site.hub.answer("/short.gguf", (_request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    const bytes = readFileSync(TINY_MODEL);
    response.write(bytes.subarray(0, bytes.length / 2));
    response.end();
  });
  const { length } = readFileSync(TINY_MODEL);
  const load = (/** @type {{ url: string, size: number }} */ { url, size }) => window.codeOf(window.ClipEncoder.load(url, { size }));
  const code = await page.evaluate(load, { url: `${site.hub.origin}/short.gguf`, size: length });
  assert.equal(code, "network");
  site.hub.answer("/whole.gguf", withoutLength(TINY_MODEL));
  assert.equal(await page.evaluate(load, { url: `${site.hub.origin}/whole.gguf`, size: length + 9 }), "no error");
});

describe("a worker that dies", () => {
  /** A module that loads anything, and traps on the text "trap", as it would after a bug or for lack of memory. */
  const TRAPPING_MODULE = `
    export default async function init() { return { memory: new WebAssembly.Memory({ initial: 1 }) }; }
    export function warmUp() {}
    export const products = () => "i16 pairs";
    export class Limits { set() {} }
    export const hasRoom = () => true;
    export class ModelLoader { towers = ["text"]; fileSize = 1; residentSize = 1; push() {} wanted() { return []; } finish() { return new Encoder(); } }
    class Encoder {
      info = { name: "stand-in", type: "q8_0", towers: ["text"], embeddingDimension: 2, imageSize: 1 };
      embedTexts(texts) {
        if (texts.includes("trap")) throw new WebAssembly.RuntimeError("unreachable");
        return texts.map(() => new Float32Array([1, 0]));
      }
    }`;

  test("fails the running call; queued and later calls go to another worker, and other encoders are not affected", async (t) => {
    const page = await site.emptyPage(t);
    serveModule(TRAPPING_MODULE);
    const outcome = await page.evaluate(async () => {
      const { ClipEncoder } = await import("/clip.js");
      const told = (/** @type {ClipError} */ { code, message }) => ({ code, message });
      const clip = await ClipEncoder.load(new Blob(["any"]));
      const other = await ClipEncoder.load(new Blob(["any"]));
      /** @type {unknown[]} */
      const outcomes = await Promise.all(["fine", "trap", "after"].map((text) => clip.embedText([text]).then(({ data }) => data, told)));
      outcomes.push((await clip.embedText(["later"])).data);
      outcomes.push((await other.embedText(["another encoder"])).data);
      outcomes.push((await (await ClipEncoder.load(new Blob(["any"]))).embedText(["again"])).data);
      return outcomes;
    });
    const failure = { code: "worker_failed", message: "the worker stopped (RuntimeError: unreachable), perhaps because memory ran out; the encoder restarts by itself, and the next call works: if an input causes this again, leave it out or make it smaller" };
    assert.deepEqual(outcome, [[[1, 0]], failure, [[1, 0]], [[1, 0]], [[1, 0]], [[1, 0]]]);
  });

  test("on the page, fails only that text, with a message; after four deaths in a row the model is lost, and Embed loads it again", async (t) => {
    const clip = await site.newPage(t);
    serveModule(TRAPPING_MODULE);
    await clip.loadTinyModel();
    await clip.texts.fill("fine\ntrap\nafter");
    await clip.embed();
    assert.equal(await clip.page.locator("#text-errors code").textContent(), "worker_failed");
    assert.match(String(await clip.page.locator("#text-errors").textContent()), /Line 2: .+restarts by itself/);
    assert.match(String(await clip.page.locator("#model-note").textContent()), /^the worker stopped .+; another worker replaces it and loads the model again$/);
    assert.match(String(await clip.modelState.textContent()), /^Ready/);
    assert.deepEqual(await clip.legend(), ["“fine”", "“after”"]);
    await clip.texts.fill("trap\ntrap\ntrap\ntrap\nafter");
    await clip.embed();
    assert.match(String(await clip.page.locator("#text-errors").textContent()), /Line 4: .+load the model again/);
    assert.match(String(await clip.modelState.textContent()), /was lost/);
    await clip.texts.fill("fine\nafter");
    await clip.embed();
    assert.deepEqual(await clip.legend(), ["“fine”", "“after”"]);
    assert.equal(site.hub.requests.length, 1, "what was kept of it serves");
  });

  test("that cannot start is reported", async (t) => {
    const page = await site.emptyPage(t);
    for (const build of ["relaxed", "simd128"]) site.own.answer(`/pkg/${build}/clip_wasm.js`, status(404));
    const load = async () => {
      const { ClipEncoder } = await import("/clip.js");
      return ClipEncoder.load(new Blob(["any"])).then(() => "loaded", ({ code }) => code);
    };
    assert.equal(await page.evaluate(load), "worker_failed");
    serveModule(`export default async function init() { throw new WebAssembly.CompileError("no SIMD here"); } export class ModelLoader {}`);
    assert.equal(await page.evaluate(load), "worker_failed");
  });

  /** @param {string} source that replaces the wasm module */
  function serveModule(source) {
    for (const build of ["relaxed", "simd128"]) {
      site.own.answer(`/pkg/${build}/clip_wasm.js`, (_request, response) => {
        response.writeHead(200, { "content-type": "text/javascript", "cache-control": "no-store" }).end(source);
      });
    }
  }
});
