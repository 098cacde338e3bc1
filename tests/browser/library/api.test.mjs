// The JavaScript API, used from another page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, modelWorkers, Site, TINY_MODEL } from "../support/browser.mjs";
import { status, withoutLength } from "../support/server.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A page with a loaded encoder in `clip`, and `codeOf`, which gives the code of a promise's error.
 * @param {TestContext} t
 * @returns {Promise<Page>}
 */
async function pageWithEncoder(t) {
  const page = await site.emptyPage(t);
  site.own.answer("/images/cat.png", (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.png"))));
  await page.evaluate(async (url) => {
    const api = await import(/** @type {string} */ ("/clip.js"));
    const codeOf = (/** @type {Promise<any>} */ promise) =>
      promise.then(
        () => "no error",
        (error) => (error instanceof api.ClipError ? error.code : `no ClipError: ${error}`),
      );
    Object.assign(window, { ...api, codeOf, modelUrl: url, clip: await api.ClipEncoder.load(url) });
  }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  return page;
}

describe("results", () => {
  test("info", async (t) => {
    const page = await pageWithEncoder(t);
    const info = await page.evaluate("clip.info");
    assert.deepEqual(
      { ...info, name: typeof info.name, preprocessing: typeof info.preprocessing },
      {
        name: "string",
        type: "q8_0",
        towers: ["text", "vision"],
        embeddingDimension: 64,
        activation: "gelu",
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
    const page = await pageWithEncoder(t);
    const [both, cat, dog, dimension] = await page.evaluate(
      `(async () => [await clip.embedText(["a cat", "a dog"]), await clip.embedText(["a cat"]), await clip.embedText(["a dog"]), clip.info.embeddingDimension])()`,
    );
    assert.deepEqual(both, { data: [cat.data[0], dog.data[0]], status_code: 200 });
    assert.equal(cat.data[0].length, dimension);
  });

  test("the same vector for a File, a Blob, bytes, a buffer and a URL; the caller's bytes stay usable", async (t) => {
    const page = await pageWithEncoder(t);
    const { vectors, lengths } = await page.evaluate(`(async () => {
      const buffer = await (await fetch("images/cat.png")).arrayBuffer();
      const bytes = new Uint8Array(buffer.slice());
      const inputs = [new File([buffer], "cat.png"), new Blob([buffer]), bytes, buffer, "images/cat.png", new URL("/images/cat.png", location.href)];
      const { data } = await clip.embedImage(inputs);
      return { vectors: data, lengths: [bytes.length, buffer.byteLength] };
    })()`);
    assert.equal(vectors.length, 6);
    for (const [index, vector] of vectors.entries()) {
      assert.deepEqual(vector, vectors[0], `input ${index} differs from input 0`);
    }
    const { length } = readFileSync(join(FIXTURES, "cat.png"));
    assert.deepEqual(lengths, [length, length]);
  });

  test("errorJson, the endpoint's form", async (t) => {
    const page = await pageWithEncoder(t);
    assert.deepEqual(await page.evaluate("clip.embedText([]).catch(errorJson)"), {
      error: { code: "empty_input", message: "the list of inputs is empty" },
      status_code: 400,
    });
    assert.deepEqual(await page.evaluate(`errorJson(new Error("oh"))`), {
      error: { code: "internal", message: "oh" },
      status_code: 500,
    });
  });
});

describe("bad calls have a code, and the encoder keeps working", () => {
  const cases = [
    { call: `clip.embedText([])`, code: "empty_input" },
    { call: `clip.embedImage([])`, code: "empty_input" },
    { call: `clip.embedText("a cat")`, code: "invalid_input" },
    { call: `clip.embedText()`, code: "invalid_input" },
    { call: `clip.embedText(["a cat", 7])`, code: "invalid_input" },
    { call: `clip.embedText([null])`, code: "invalid_input" },
    { call: `clip.embedText([["a cat"]])`, code: "invalid_input" },
    { call: `clip.embedImage([{}])`, code: "invalid_input" },
    { call: `clip.embedImage(["http://"])`, code: "invalid_input" },
    { call: `clip.embedImage([new Uint8Array()])`, code: "unsupported_image" },
    { call: `clip.embedImage([new Blob(["no pixels"])])`, code: "unsupported_image" },
    { call: `clip.embedImage(["images/nowhere.png"])`, code: "http_status" },
    { call: `clip.embedImage(["http://127.0.0.1:9/cat.png"])`, code: "network" },
    { call: `clip.embedText(["a cat"], { signal: AbortSignal.abort() })`, code: "aborted" },
    { call: `clip.embedImage(["images/cat.png"], { signal: AbortSignal.abort() })`, code: "aborted" },
    { call: `ClipEncoder.load("weights.gguf", { signal: AbortSignal.abort() })`, code: "aborted" },
    { call: `ClipEncoder.load()`, code: "invalid_input" },
    { call: `ClipEncoder.load(null)`, code: "invalid_input" },
    { call: `ClipEncoder.load("http://")`, code: "invalid_input" },
    { call: `ClipEncoder.load(new Blob([]))`, code: "not_a_model" },
  ];
  for (const { call, code } of cases) {
    test(`${call}: ${code}`, async (t) => {
      const page = await pageWithEncoder(t);
      assert.equal(await page.evaluate(`codeOf(${call})`), code);
      assert.equal(await page.evaluate(`codeOf(clip.embedText(["a cat"]))`), "no error");
    });
  }

  test("the message names the input", async (t) => {
    const page = await pageWithEncoder(t);
    const message = await page.evaluate(`clip.embedText(["a cat", 7]).catch((error) => error.message)`);
    assert.equal(message, "input 1 is a number, not a string");
  });
});

describe("abort", () => {
  test("ends a call between two inputs, and the next call works", async (t) => {
    const page = await pageWithEncoder(t);
    const { code, name } = await page.evaluate(`(async () => {
      const abort = new AbortController();
      const call = clip.embedText(Array(500).fill("a photo of a cat"), { signal: abort.signal });
      setTimeout(() => abort.abort(), 50);
      return call.then(() => "no error", ({ code, name }) => ({ code, name }));
    })()`);
    assert.deepEqual({ code, name }, { code: "aborted", name: "AbortError" });
    assert.equal(await page.evaluate(`codeOf(clip.embedText(["a cat"]))`), "no error");
  });

  test("ends a load within 100 ms", async (t) => {
    const page = await pageWithEncoder(t);
    site.hub.answer("/never.gguf", (_request, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" });
      response.write(readFileSync(TINY_MODEL).subarray(0, 1000));
    });
    const { code, milliseconds } = await page.evaluate(`(async () => {
      const abort = new AbortController();
      const started = new Promise((resolve) => (abort.onProgress = ({ loaded }) => loaded > 0 && resolve()));
      const load = ClipEncoder.load("${site.hub.origin}/never.gguf", { signal: abort.signal, onProgress: abort.onProgress });
      await started;
      const start = performance.now();
      abort.abort();
      return { code: await codeOf(load), milliseconds: performance.now() - start };
    })()`);
    assert.equal(code, "aborted");
    assert.ok(milliseconds < 100, `took ${milliseconds} ms`);
  });
});

describe("close", () => {
  test("makes pending and later calls fail", async (t) => {
    const page = await pageWithEncoder(t);
    const codes = await page.evaluate(`(async () => {
      const waiting = codeOf(clip.embedText(["a cat"]));
      clip.close();
      clip.close();
      return [await waiting, await codeOf(clip.embedText(["a cat"]))];
    })()`);
    assert.deepEqual(codes, ["closed", "closed"]);
  });

  test("of one encoder does not affect another", async (t) => {
    const page = await pageWithEncoder(t);
    const code = await page.evaluate(`(async () => {
      const other = await ClipEncoder.load(modelUrl);
      clip.close();
      return codeOf(other.embedText(["a cat"]));
    })()`);
    assert.equal(code, "no error");
  });
});

describe("a batch of images on a page without threads", () => {
  /** 24 images, each cropped differently, so that no two have the same vector. */
  const IMAGES = `(async () => {
    const bitmap = await createImageBitmap(await (await fetch("/images/cat.png")).blob());
    return Promise.all(Array.from({ length: 24 }, (_, i) => {
      const canvas = new OffscreenCanvas(64, 64);
      canvas.getContext("2d").drawImage(bitmap, -i, -2 * i);
      return canvas.convertToBlob();
    }));
  })()`;

  test("is shared with other workers, in input order", async (t) => {
    const page = await pageWithEncoder(t);
    const [one, all, again] = await page.evaluate(`(async () => {
      const images = await ${IMAGES};
      const one = [];
      for (const image of images) one.push(...(await clip.embedImage([image])).data);
      const all = (await clip.embedImage(Array.from({ length: 40 }, () => images).flat())).data;
      return [one, all, (await clip.embedImage(images)).data];
    })()`);
    assert.equal(new Set(one.map(String)).size, 24);
    assert.deepEqual(all, Array.from({ length: 40 }, () => one).flat());
    assert.deepEqual(again, one);
    assert.equal(modelWorkers(page).length, 1 + Math.min(availableParallelism() - 1, 3));
    assert.equal(site.hub.requests.length, 1, "they read what the first has kept");
  });

  test("of few images, or with threads: 1, does not load the model again", async (t) => {
    const page = await pageWithEncoder(t);
    await page.evaluate(`(async () => {
      const images = await ${IMAGES};
      await clip.embedImage(images.slice(0, 15));
      const single = await ClipEncoder.load(modelUrl, { threads: 1 });
      await single.embedImage(images);
    })()`);
    assert.equal(modelWorkers(page).length, 2);
  });

  test("fails with the error of the first input that fails, and the next call works", async (t) => {
    const page = await pageWithEncoder(t);
    const [codes, count] = await page.evaluate(`(async () => {
      const images = await ${IMAGES};
      const many = Array.from({ length: 20 }, () => images).flat();
      many[100] = new Blob(["no image"]);
      many[101] = "/images/missing.png";
      const codes = [];
      for (let round = 0; round < 3; round++) codes.push(await codeOf(clip.embedImage(many)));
      return [codes, (await clip.embedImage(images)).data.length];
    })()`);
    assert.deepEqual([codes, count], [["unsupported_image", "unsupported_image", "unsupported_image"], 24]);
  });

  test("goes on without a helper that cannot load, and ends with close", async (t) => {
    const page = await pageWithEncoder(t);
    site.hub.answer("/tiny-gelu.q8_0.gguf", status(503));
    const [count, code] = await page.evaluate(`(async () => {
      const images = await ${IMAGES};
      const many = Array.from({ length: 20 }, () => images).flat();
      const { data } = await clip.embedImage(many);
      const waiting = codeOf(clip.embedImage(many));
      setTimeout(() => clip.close(), 20);
      return [data.length, await waiting];
    })()`);
    assert.deepEqual([count, code], [480, "closed"]);
  });
});

describe("images one by one", () => {
  /** Twenty images, each with its own URL, two of which fail; `each` lists the results. */
  const EACH = `
    const images = Array.from({ length: 20 }, (_, i) => "/images/cat.png?" + i);
    images[3] = new Blob(["no image"]);
    images[7] = "/images/missing.png";
    const each = async (images, options) => {
      const outcomes = [];
      for await (const outcome of clip.embedEach(images, options)) outcomes.push(outcome);
      return outcomes;
    };`;

  test("gives the same vectors as embedImage, and an error for each image that fails", async (t) => {
    const page = await pageWithEncoder(t);
    const [outcomes, cat, raw] = await page.evaluate(`(async () => {
      ${EACH}
      const told = (await each(images)).map(({ index, vector, error }) => ({ index, vector: vector && [...vector], code: error?.code, isClipError: error instanceof ClipError }));
      const cat = async (options) => (await clip.embedImage(["/images/cat.png"], options)).data[0];
      const [first] = await each(["/images/cat.png"], { normalize: false });
      return [told, await cat(), [[...first.vector], await cat({ normalize: false })]];
    })()`);
    outcomes.sort((/** @type {any} */ a, /** @type {any} */ b) => a.index - b.index);
    assert.deepEqual(outcomes.map((/** @type {any} */ { index }) => index), Array.from({ length: 20 }, (_, i) => i));
    const codes = new Map([[3, "unsupported_image"], [7, "http_status"]]);
    for (const { index, vector, code, isClipError } of outcomes) {
      assert.equal(code, codes.get(index), `image ${index}`);
      assert.equal(isClipError, codes.has(index), `image ${index}`);
      assert.deepEqual(vector, codes.has(index) ? undefined : cat, `image ${index}`);
    }
    assert.deepEqual(raw[0], raw[1]);
  });

  test("reads only a few images ahead, and no more when the caller stops", async (t) => {
    const page = await pageWithEncoder(t);
    const fetched = () => site.own.requests.filter((path) => path === "/images/cat.png").length;
    await page.evaluate(`(async () => {
      const images = Array.from({ length: 200 }, (_, i) => "/images/cat.png?" + i);
      window.taking = clip.embedEach(images);
      await taking.next();
      await new Promise((resolve) => setTimeout(resolve, 1500));
    })()`);
    const ahead = fetched();
    assert.ok(ahead >= 2 && ahead <= 20, `${ahead} images were fetched for the one that was taken`);
    const vectors = await page.evaluate(`(async () => {
      await taking.return();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return (await clip.embedImage(["/images/cat.png"])).data.length;
    })()`);
    assert.equal(vectors, 1);
    assert.equal(fetched(), ahead + 1, "beside the last one");
  });

  test("ends with an error that every image would have", async (t) => {
    const page = await pageWithEncoder(t);
    const codes = await page.evaluate(`(async () => {
      ${EACH}
      const text = await ClipEncoder.load(modelUrl, { towers: ["text"] });
      const abort = new AbortController();
      const aborted = codeOf((async () => {
        for await (const _ of clip.embedEach(images, { signal: abort.signal })) abort.abort();
      })());
      const codes = [await aborted, await codeOf(each(images)), await codeOf(text.embedEach(images).next())];
      codes.push(await codeOf(each([])), await codeOf(each(["a", 7])));
      const closed = codeOf((async () => {
        for await (const _ of clip.embedEach(images)) clip.close();
      })());
      return [...codes, await closed];
    })()`);
    assert.deepEqual(codes, ["aborted", "no error", "missing_tower", "empty_input", "invalid_input", "closed"]);
  });
});

test("a body without a length that is shorter than models.json says is a network error", async (t) => {
  const page = await pageWithEncoder(t);
  site.hub.answer("/short.gguf", (_request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    const bytes = readFileSync(TINY_MODEL);
    response.write(bytes.subarray(0, bytes.length / 2));
    response.end();
  });
  const { length } = readFileSync(TINY_MODEL);
  const code = await page.evaluate(`codeOf(ClipEncoder.load("${site.hub.origin}/short.gguf", { size: ${length} }))`);
  assert.equal(code, "network");
  site.hub.answer("/whole.gguf", withoutLength(TINY_MODEL));
  assert.equal(await page.evaluate(`codeOf(ClipEncoder.load("${site.hub.origin}/whole.gguf", { size: ${length + 9} }))`), "no error");
});

describe("a worker that dies", () => {
  /** A module that loads anything, and traps on the text "trap", as it would after a bug or for lack of memory. */
  const TRAPPING_MODULE = `
    export default async function init() { return { memory: new WebAssembly.Memory({ initial: 1 }) }; }
    export function warmUp() {}
    export class Limits { set() {} }
    export const hasRoom = () => true;
    export class ModelLoader { towers = ["text"]; fileSize = 1; residentSize = 1; push() {} wanted() { return []; } finish() { return new Encoder(); } }
    class Encoder {
      info = { name: "stand-in", type: "q8_0", towers: ["text"], embeddingDimension: 2, imageSize: 1 };
      embedText(text) {
        if (text === "trap") throw new WebAssembly.RuntimeError("unreachable");
        return new Float32Array([1, 0]);
      }
    }`;

  test("fails the running call; queued and later calls go to another worker, and other encoders are not affected", async (t) => {
    const page = await site.emptyPage(t);
    serveModule(TRAPPING_MODULE);
    const outcome = await page.evaluate(`(async () => {
      const { ClipEncoder } = await import("/clip.js");
      const told = ({ code, message }) => ({ code, message });
      const clip = await ClipEncoder.load(new Blob(["any"]));
      const other = await ClipEncoder.load(new Blob(["any"]));
      const outcomes = await Promise.all(["fine", "trap", "after"].map((text) => clip.embedText([text]).then(({ data }) => data, told)));
      outcomes.push((await clip.embedText(["later"])).data);
      outcomes.push((await other.embedText(["another encoder"])).data);
      outcomes.push((await (await ClipEncoder.load(new Blob(["any"]))).embedText(["again"])).data);
      return outcomes;
    })()`);
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
    const load = `import("/clip.js").then(({ ClipEncoder }) => ClipEncoder.load(new Blob(["any"]))).catch(({ code }) => code)`;
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
