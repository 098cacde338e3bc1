// Threads: if the page is cross-origin isolated, by its host's headers or by its own service worker, threads share the
// work on an input, and the vectors are equal to those of one thread to the last bit.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { CHROMIUM_FLAGS, FIXTURES, PHOTOS, REPOSITORY, Site, TEST_DATA } from "../support/browser.mjs";
import { atFirst, file, StaticServer, status } from "../support/server.mjs";

/** @import { Page } from "playwright-core" */

const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const EXPECTED_THREADS = Math.min(availableParallelism(), 8);
const TEXTS = ["a photo of a cat", "", "two blue squares on grass ".repeat(20)];

/** @type {Site} */
let site;
/** @type {StaticServer} a host that sends the headers for isolation */
let isolated;

before(async () => {
  site = await Site.open(CHROMIUM_FLAGS);
  isolated = await new StaticServer(join(REPOSITORY, "www"), ISOLATION).start();
});
after(async () => {
  await site.close();
  await isolated.stop();
});

/**
 * The API's results on a page.
 * @param {Page} page
 * @param {{ model?: string, threads?: number, images?: string[], rounds?: number }} [options]
 * @returns {Promise<{ threads: number, vectors: number[][] }>} the vectors of all rounds, one after the other
 */
async function embed(page, { model = "tiny-gelu.q8_0.gguf", threads, images = [join(FIXTURES, "cat.png")], rounds = 1 } = {}) {
  return page.evaluate(
    async ({ url, threads, texts, images, rounds }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load(url, { threads });
      const files = images.map((base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)));
      const vectors = [];
      for (let round = 0; round < rounds; round++) {
        vectors.push(...(await clip.embedText(texts)).data, ...(await clip.embedImage(files)).data);
      }
      clip.close();
      return { threads: clip.threads, vectors };
    },
    {
      url: `${site.hub.origin}/${model}`,
      threads,
      texts: TEXTS,
      images: images.map((path) => readFileSync(path, "base64")),
      rounds,
    },
  );
}

/** @param {Page} page */
const isIsolated = (page) => page.evaluate(() => crossOriginIsolated);

/**
 * An empty page that its host isolates.
 * @param {import("node:test").TestContext} t
 */
async function isolatedPage(t) {
  const { page } = await site.newPage(t);
  isolated.reset();
  isolated.answer("/empty.html", (_request, response) => {
    response.writeHead(200, { "content-type": "text/html", ...ISOLATION }).end("<!doctype html><title>Empty</title><link rel=icon href=data:,>");
  });
  await page.goto(`${isolated.origin}/empty.html`);
  assert.equal(await isIsolated(page), true);
  return page;
}

/**
 * Has the isolated host send a worker's script with a change.
 * @param {string} name
 * @param {string | RegExp} before
 * @param {string} after
 */
function changeScript(name, before, after) {
  const script = readFileSync(join(REPOSITORY, `www/pkg/workers/${name}.js`), "utf8");
  const changed = script.replace(before, after);
  assert.notEqual(changed, script);
  isolated.answer(`/pkg/workers/${name}.js`, (_request, response) => {
    response.writeHead(200, { "content-type": "text/javascript", ...ISOLATION }).end(changed);
  });
}

describe("a host that sends no headers", () => {
  test("has one thread on the first visit and all from the second on, with equal vectors", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    assert.equal(await isIsolated(page), false);
    const first = await embed(page);
    assert.equal(first.threads, 1);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    assert.equal(await isIsolated(page), true);
    const second = await embed(page);
    assert.equal(second.threads, EXPECTED_THREADS);
    assert.deepEqual(second.vectors, first.vectors);
  });

  test("in a subfolder too", async (t) => {
    const { page } = await site.newPage(t);
    const host = await new StaticServer(REPOSITORY).start();
    t.after(() => host.stop());
    await page.goto(`${host.origin}/www/`);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    assert.equal(await isIsolated(page), true);
  });

  test("serves a working page even if the service worker is missing", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    assert.ok(site.own.requests.includes("/sw.js"));
    assert.equal(await isIsolated(clip.page), false);
    record({ section: "faults", what: "a service worker that is missing", tried: "404", outcome: "the page works, without isolation" });
  });
});

describe("a script that fails to load the first time", () => {
  /** @param {string} path */
  const failing = (path) => atFirst(status(503), file(join(REPOSITORY, "www", path)));

  test("of the worker is requested again", async (t) => {
    const { page } = await site.newPage(t);
    const path = "pkg/workers/model-worker.js";
    site.own.answer(`/${path}`, failing(path));
    assert.equal((await embed(page)).vectors.length, TEXTS.length + 1);
  });

  test("of a thread is requested again", async (t) => {
    const page = await isolatedPage(t);
    isolated.answer("/pkg/workers/wasm-thread.js", failing("pkg/workers/wasm-thread.js"));
    assert.equal((await embed(page)).threads, EXPECTED_THREADS);
    record({ section: "faults", what: "a worker's script that is missing at first", tried: "503 for the worker's, and for a thread's", outcome: "it is requested again" });
  });

  test("of a thread's build is requested again", async (t) => {
    const page = await isolatedPage(t);
    const build = "pkg/relaxed-threads/clip_wasm.js";
    isolated.answer(`/${build}`, atFirst(file(join(REPOSITORY, "www", build)), failing(build)));
    assert.equal((await embed(page)).threads, EXPECTED_THREADS);
    // Requested by the worker, by each thread, and once more by the first thread.
    assert.equal(isolated.requests.filter((path) => path === `/${build}`).length, EXPECTED_THREADS + 1);
  });

  test("is not requested by a load that was aborted before", async (t) => {
    const page = await site.emptyPage(t);
    site.own.requests.length = 0;
    const code = await page.evaluate(async (url) => {
      const { ClipEncoder } = await import("/clip.js");
      return ClipEncoder.load(url, { signal: AbortSignal.abort() }).catch(({ code }) => code);
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.equal(code, "aborted");
    assert.deepEqual(site.own.requests.filter((path) => path.endsWith("/pkg/workers/model-worker.js")), []);
  });
});

describe("a host that isolates the page", () => {
  test("gives as many threads as are asked for", async (t) => {
    const page = await isolatedPage(t);
    const one = await embed(page, { threads: 1 });
    assert.equal(one.threads, 1);
    for (const threads of [2, 3, 5]) {
      const many = await embed(page, { threads });
      assert.equal(many.threads, threads);
      assert.deepEqual(many.vectors, one.vectors, `${threads} threads`);
    }
  });

  test("gives the same vectors at every run, at full size", { timeout: 120_000 }, async (t) => {
    const page = await isolatedPage(t);
    page.setDefaultTimeout(100_000);
    const options = { model: "vit-b-32-gelu.q8_0.gguf", images: [join(PHOTOS, "coffee.png")] };
    const one = await embed(page, { ...options, threads: 1 });
    const { vectors } = await embed(page, { ...options, threads: 2, rounds: 8 });
    for (let from = 0; from < vectors.length; from += one.vectors.length) {
      assert.deepEqual(vectors.slice(from, from + one.vectors.length), one.vectors);
    }
  });

  test("without the best build for threads takes the other, and without both runs on one thread", async (t) => {
    const page = await isolatedPage(t);
    const { vectors } = await embed(page);
    isolated.answer("/pkg/relaxed-threads/clip_wasm_bg.wasm", status(404));
    assert.deepEqual(await embed(page), { threads: EXPECTED_THREADS, vectors });
    assert.ok(isolated.requests.includes("/pkg/simd128-threads/clip_wasm_bg.wasm"));
    isolated.answer("/pkg/simd128-threads/clip_wasm_bg.wasm", status(404));
    assert.deepEqual(await embed(page), { threads: 1, vectors });
    record({ section: "faults", what: "a module with threads that is missing", tried: "404", outcome: "the module for one thread is used" });
  });

  test("does not wait for threads that never answer", { timeout: 30_000 }, async (t) => {
    const page = await isolatedPage(t);
    const one = await embed(page, { threads: 1 });
    changeScript("model-worker", "setTimeout(resolve, milliseconds)", "setTimeout(resolve, milliseconds / 30)");
    changeScript("wasm-thread", /^[^]+$/, "// silent");
    assert.deepEqual(await embed(page, { threads: 3 }), one);
  });

  test("runs on as many threads as there is memory for", { timeout: 30_000 }, async (t) => {
    const page = await isolatedPage(t);
    const one = await embed(page, { threads: 1 });
    // A thread's stack then takes most of the memory that they share.
    changeScript("wasm-thread", "initSync({ module", "initSync({ thread_stack_size: 1 << 29, module");
    changeScript("model-worker", "setTimeout(resolve, milliseconds)", "setTimeout(resolve, milliseconds / 10)");
    const few = await embed(page, { threads: 5 });
    assert.ok(few.threads < 5, `${few.threads} threads`);
    assert.deepEqual(few.vectors, one.vectors);
  });

  test("fetches one build for a model that does not exist", async (t) => {
    const page = await isolatedPage(t);
    isolated.requests.length = 0;
    const code = await page.evaluate(async (url) => {
      const { ClipEncoder } = await import("/clip.js");
      return ClipEncoder.load(url).then(
        () => "loaded",
        ({ code }) => String(code),
      );
    }, `${site.hub.origin}/no-such-model.gguf`);
    assert.equal(code, "http_status");
    assert.deepEqual(isolated.requests.filter((path) => path.endsWith(".wasm") && !path.includes("/pictures/")), ["/pkg/relaxed-threads/clip_wasm_bg.wasm"]);
  });

  test("that sends wasm with the wrong type has threads too", async (t) => {
    const page = await isolatedPage(t);
    isolated.answer("/pkg/relaxed-threads/clip_wasm_bg.wasm", (request, response) => {
      const { writeHead } = response;
      response.writeHead = (/** @type {any} */ code, /** @type {any} */ headers) =>
        writeHead.call(response, code, { ...headers, "content-type": "application/octet-stream" });
      return file(join(REPOSITORY, "www/pkg/relaxed-threads/clip_wasm_bg.wasm"))(request, response);
    });
    assert.equal((await embed(page)).threads, EXPECTED_THREADS);
  });

  test("loads and closes many times", async (t) => {
    const page = await isolatedPage(t);
    const first = await embed(page, { threads: 4 });
    for (let round = 0; round < 10; round++) assert.deepEqual(await embed(page, { threads: 4 }), first);
  });

  test("loads a body without a length", async (t) => {
    const page = await isolatedPage(t);
    const url = site.hub.answer("/no-length.gguf", async (_request, response) => {
      response.writeHead(200, { "access-control-allow-origin": "*" });
      response.end(readFileSync(join(TEST_DATA, "tiny-gelu.q8_0.gguf")));
    });
    assert.equal((await embed(page, { model: new URL(url).pathname.slice(1) })).threads, EXPECTED_THREADS);
  });
});

for (const threads of /** @type {any[]} */ ([0, -1, 1.5, "2", null, 257, 1000])) {
  test(`threads: ${JSON.stringify(threads)} is refused`, async (t) => {
    const { page } = await site.newPage(t);
    const code = await page.evaluate(async (threads) => {
      const { ClipEncoder } = await import("/clip.js");
      return ClipEncoder.load(new Blob(["any"]), { threads }).catch(({ code }) => code);
    }, threads);
    assert.equal(code, "invalid_input");
  });
}
