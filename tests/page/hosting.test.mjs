// The page wherever it may be put: in a folder of a host, and on one without HTTPS.

import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium, REPOSITORY, Site } from "./browser.mjs";
import { StaticServer } from "./server.mjs";

/** @import { Page } from "playwright-core" */

const FOLDER = "/a/b/";

/** @type {string} */
let root;
/** @type {StaticServer} a host with the page in a folder and nothing else */
let host;

before(async () => {
  root = mkdtempSync(join(tmpdir(), "clip-wasm-host-"));
  mkdirSync(join(root, "a"));
  symlinkSync(join(REPOSITORY, "www"), join(root, FOLDER.slice(0, -1)));
  host = await new StaticServer(root).start();
});
after(async () => {
  await host.stop();
  rmSync(root, { recursive: true });
});

/**
 * The cosines of the first sample and its captions, as the table shows them once they are all there.
 * @param {Page} page
 */
async function cosines(page) {
  await page.locator("#comparison td").first().waitFor();
  await page.waitForFunction(() => document.querySelector("#run-state")?.textContent === "");
  return page.locator("#comparison td").allTextContents();
}

describe("in a folder of a host", () => {
  test("it embeds, is isolated from the second visit on, and works without the host", async (t) => {
    const site = await Site.open();
    t.after(() => site.close());
    const atRoot = await site.visit(t);
    const want = await cosines(atRoot.page);
    assert.ok(want.length >= 4, `${want.length} cosines`);
    const { page } = await site.newPage(t);
    await page.goto(`${host.origin}${FOLDER}`);
    assert.deepEqual(await cosines(page), want);
    await page.waitForFunction(async () => (await navigator.serviceWorker.ready).active?.state === "activated");
    await page.reload();
    assert.deepEqual(await cosines(page), want);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    const outside = host.requests.filter((path) => !path.startsWith(FOLDER) && path !== "/favicon.ico");
    assert.deepEqual(outside, []);
    await host.stop();
    t.after(() => host.start());
    await page.reload();
    assert.deepEqual(await cosines(page), want);
  });
});

test("without HTTPS it embeds on one thread, and keeps nothing", async (t) => {
  const args = [...CHROMIUM_FLAGS, "--host-resolver-rules=MAP plain.test 127.0.0.1"];
  const browser = await chromium.launch({ executablePath: findChromium(), args });
  t.after(() => browser.close());
  host.reset();
  const page = await browser.newPage();
  /** @type {Error[]} */
  const thrown = [];
  page.on("pageerror", (error) => thrown.push(error));
  await page.goto(`http://plain.test:${new URL(host.origin).port}${FOLDER}`);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  assert.ok((await cosines(page)).length >= 4);
  assert.equal(await page.locator("#kept").isVisible(), false);
  await page.reload();
  await cosines(page);
  const models = host.requests.filter((path) => path === `${FOLDER}models/demo.gguf`);
  assert.equal(models.length, 2, "the model is fetched at each visit");
  assert.deepEqual(thrown, []);
});

test("the headers for hosts that read `_headers` are those that the service worker adds", () => {
  const www = join(REPOSITORY, "www");
  const worker = readFileSync(join(www, "sw.js"), "utf8");
  const isolation = /const ISOLATION = \{([^}]+)\}/.exec(worker)?.[1] ?? "";
  const added = [...isolation.matchAll(/"([^"]+)": "([^"]+)"/g)].map(([, name, value]) => `${name}: ${value}`);
  assert.equal(added.length, 2);
  const [path, ...lines] = readFileSync(join(www, "_headers"), "utf8").trimEnd().split("\n");
  assert.equal(path, "/*");
  assert.deepEqual(lines.map((line) => line.trim().toLowerCase()), added);
});
