// The page on many kinds of hosts: in a subfolder, without HTTPS, with wrong types, redirects, or without the browser's
// cache.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { record } from "../../reliability/record.mjs";
import { CHROMIUM_FLAGS, findChromium } from "../support/browser.mjs";
import { cosines, errorShown, folderWithPage, hosted, launch, newPage, sent, startPython, visits, wantedCosines, WWW } from "../support/hosts.mjs";
import { file, StaticServer } from "../support/server.mjs";

/** @import { Browser } from "playwright-core" */

const THREE_VISITS = "first visit, second visit, offline";

/** @type {Browser} */
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test("in a folder of a host it embeds, is isolated from the second visit on, and works without the host", async (t) => {
  const host = await new StaticServer(folderWithPage(t, "/a/b")).start();
  const isolated = await visits(t, browser, `${host.origin}/a/b/`, host);
  assert.deepEqual(isolated, [false, true, true]);
  const outside = host.requests.filter((path) => !path.startsWith("/a/b/") && path !== "/favicon.ico");
  assert.deepEqual(outside, []);
  record({ section: "hosts", what: "a folder of a host, no special header", tried: THREE_VISITS, outcome: "the same cosines as at the root; threads from the second visit on; no requests outside the folder" });
});

test("on python3 -m http.server, in a folder", async (t) => {
  const python = await startPython(folderWithPage(t, "/a/b"));
  t.after(() => python.stop());
  assert.deepEqual(await visits(t, browser, `${python.origin}/a/b/`, python), [false, true, true]);
  record({ section: "hosts", what: "python3 -m http.server", tried: THREE_VISITS, outcome: "the same cosines; threads from the second visit on" });
});

test("without HTTPS it embeds on one thread, and stores nothing", async (t) => {
  const args = [...CHROMIUM_FLAGS, "--host-resolver-rules=MAP plain.test 127.0.0.1"];
  const plain = await chromium.launch({ executablePath: findChromium(), args });
  t.after(() => plain.close());
  const host = await hosted(t);
  const want = await wantedCosines(t, browser);
  const { page } = await newPage(t, plain);
  await page.goto(`http://plain.test:${new URL(host.origin).port}/`);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  assert.deepEqual(await cosines(page), want);
  assert.equal(await page.locator("#kept").isVisible(), false);
  await page.reload();
  assert.deepEqual(await cosines(page), want);
  const models = host.requests.filter((path) => path === "/models/demo.gguf");
  assert.equal(models.length, 2, "the model is fetched at each visit");
  record({ section: "hosts", what: "without HTTPS", tried: "two visits", outcome: "the same cosines, on one thread; nothing is kept" });
});

describe("with wrong types", () => {
  /** @type {Record<string, Record<string, string | null>>} */
  const types = {
    "text/plain": { ".wasm": "text/plain", ".gguf": "text/plain", ".json": "text/plain", ".webmanifest": "text/plain" },
    "application/octet-stream": { ".wasm": "application/octet-stream", ".json": "application/octet-stream", ".png": "application/octet-stream" },
    none: { ".wasm": null, ".gguf": null, ".json": null, ".png": null },
  };
  let passed = 0;
  for (const [name, wrong] of Object.entries(types)) {
    test(`${name} for the module and for data`, async (t) => {
      const host = await hosted(t, { answer: sent({ types: wrong }) });
      const want = await wantedCosines(t, browser);
      const { page, said } = await newPage(t, browser);
      await page.goto(`${host.origin}/`);
      assert.deepEqual(await cosines(page), want);
      assert.deepEqual(said, []);
      passed++;
    });
  }
  after(() => {
    if (passed === Object.keys(types).length) record({ section: "hosts", what: "wrong or no Content-Type for .wasm, .gguf, .json", tried: "text/plain, application/octet-stream, none", outcome: "the same cosines" });
  });
});

describe("with other encodings", () => {
  test("as gzip, the model too, with the compressed length", async (t) => {
    const encoding = { name: "gzip", of: (/** @type {Buffer} */ bytes) => gzipSync(bytes, { level: 1 }) };
    const host = await hosted(t, { answer: sent({ encoding }) });
    const want = await wantedCosines(t, browser);
    const { page, said } = await newPage(t, browser);
    await page.goto(`${host.origin}/`);
    assert.deepEqual(await cosines(page), want);
    assert.deepEqual(said, []);
    record({ section: "hosts", what: "everything as gzip, Content-Length of the compressed bytes", tried: "first visit", outcome: "the same cosines" });
  });

  test("as Brotli, without a Content-Length, and no-store", async (t) => {
    const of = (/** @type {Buffer} */ bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
    const host = await new StaticServer(WWW, { "cache-control": "no-store" }, sent({ encoding: { name: "br", of }, length: false })).start();
    assert.deepEqual(await visits(t, browser, `${host.origin}/`, host), [false, true, true]);
    record({ section: "hosts", what: "everything as Brotli, without Content-Length, no-store", tried: THREE_VISITS, outcome: "the same cosines; kept for offline visits" });
  });
});

describe("with its own rules for addresses", () => {
  test("index.html redirects to its folder, and the folder without a slash to that with one", async (t) => {
    const host = await hosted(t, {
      answer: (path) => {
        const to = { "/a": "/a/", "/a/index.html": "/a/" }[path];
        if (to) return (_request, response) => void response.writeHead(301, { location: to }).end();
        return file(join(WWW, path.replace(/^\/a/, ""), path.endsWith("/") ? "index.html" : ""));
      },
    });
    const want = await wantedCosines(t, browser);
    const { page, said } = await newPage(t, browser);
    await page.goto(`${host.origin}/a`);
    assert.deepEqual(await cosines(page), want);
    await page.locator("#offline").filter({ hasText: /^Works offline$/ }).waitFor();
    await page.goto(`${host.origin}/a/index.html`);
    assert.deepEqual(await cosines(page), want);
    assert.equal(page.url(), `${host.origin}/a/`);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    assert.deepEqual(said, []);
    record({ section: "hosts", what: "redirects of /index.html to / and of a folder to its slash", tried: "first visit, second visit", outcome: "the same cosines; threads at the second" });
  });

  test("upper and lower case are the same", async (t) => {
    const host = await new StaticServer(WWW, {}, (path) => file(join(WWW, path.toLowerCase().replace(/^\/clip\//, "/"), path.endsWith("/") ? "index.html" : ""))).start();
    assert.deepEqual(await visits(t, browser, `${host.origin}/Clip/`, host), [false, true, true]);
    record({ section: "hosts", what: "a host that ignores upper and lower case", tried: THREE_VISITS, outcome: "the same cosines, below a path in upper case" });
  });

  test("a missing file is answered with the page itself, with status 200", async (t) => {
    const isThere = (/** @type {string} */ path) => !/-threads\//.test(path); // as a build without them
    const host = await hosted(t, {
      answer: (path) => (isThere(path) ? null : file(join(WWW, "index.html"))),
    });
    const want = await wantedCosines(t, browser);
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/`);
    assert.deepEqual(await cosines(page), want);
    await page.locator("#offline").filter({ hasText: /^Works offline$/ }).waitFor();
    await page.reload();
    assert.deepEqual(await cosines(page), want);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    assert.ok(host.requests.some((path) => path.includes("-threads/")), "the build with threads was asked for");
    record({ section: "hosts", what: "status 200 and index.html for missing files", tried: "two visits to a build without threads", outcome: "the same cosines, on one thread" });
  });

  for (const [path, code, says] of /** @type {const} */ ([
    ["pkg/*.wasm", "not_wasm", /is not a WebAssembly module, but text\/html/],
    ["models/demo.gguf", "not_a_model", /is a web page, not a model file/],
    ["models.json", "not_json", /models\.json did not return JSON \(text\/html/],
    ["pkg/workers/model-worker.js", "worker_failed", /does not send http:\S+\/pkg\/workers\/model-worker\.js as JavaScript/],
  ])) {
    test(`and if the missing file is ${path}, the page says so: ${code}`, async (t) => {
      const host = await hosted(t, { answer: (asked) => (asked === `/${path}` || (path === "pkg/*.wasm" && asked.endsWith(".wasm")) ? file(join(WWW, "index.html")) : null) });
      const { page } = await newPage(t, browser);
      await page.goto(`${host.origin}/`);
      const shown = await errorShown(page);
      assert.equal(shown.code, code);
      assert.match(shown.text, says);
    });
  }
});

test("the headers for hosts that read `_headers` are the same as those that the service worker adds", () => {
  const worker = readFileSync(join(WWW, "sw.js"), "utf8");
  const isolation = /const ISOLATION = \{([^}]+)\}/.exec(worker)?.[1] ?? "";
  const added = [...isolation.matchAll(/"([^"]+)": "([^"]+)"/g)].map(([, name, value]) => `${name}: ${value}`);
  assert.equal(added.length, 2);
  const [path, ...lines] = readFileSync(join(WWW, "_headers"), "utf8").trimEnd().split("\n");
  assert.equal(path, "/*");
  assert.deepEqual(lines.map((line) => line.trim().toLowerCase()), added);
});
