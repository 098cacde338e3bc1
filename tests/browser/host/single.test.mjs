// The page as a single file, opened from a disk without a network.

import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, ClipPage, findChromium, FIXTURES, REPOSITORY, Site, TEST_DATA } from "../support/browser.mjs";

/** @import { Browser } from "playwright-core" */
/** @import { TestContext } from "node:test" */

const SINGLE = join(REPOSITORY, "clip-wasm.html");

/** @type {Site} */
let site;
/** @type {Browser} a browser that has not visited the site */
let browser;
before(async () => {
  if (!existsSync(SINGLE)) throw new Error("clip-wasm.html is missing: run ./build.sh single first");
  site = await Site.open();
  browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS });
});
after(async () => {
  await browser.close();
  await site.close();
});

/**
 * Opens the file, and collects its console messages and its requests.
 * @param {TestContext} t
 */
async function open(t) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(20_000);
  t.after(() => context.close());
  const page = await context.newPage();
  /** @type {string[]} */
  const said = [];
  /** @type {string[]} */
  const asked = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  context.on("request", (request) => asked.push(request.url()));
  await context.setOffline(true);
  await page.goto(pathToFileURL(SINGLE).href);
  return { clip: new ClipPage(page, site), said, asked };
}

test("it embeds its sample, as the served page does", async (t) => {
  const { page: served } = await site.visit(t);
  await served.locator("#comparison .verdict").waitFor();
  const wanted = await new ClipPage(served, site).copied();
  const { clip, said, asked } = await open(t);
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.settled();
  // A page from a disk cannot read the clipboard, but the download has the same text.
  const downloading = clip.page.waitForEvent("download");
  await clip.page.getByRole("button", { name: "Download" }).click();
  const given = JSON.parse(readFileSync(await (await downloading).path(), "utf8"));
  assert.ok(wanted.data.length > 1);
  assert.deepEqual(given, wanted);
  assert.deepEqual(said, [], "nothing is warned of");
  assert.equal(await clip.page.locator("#model-note").isVisible(), false);
  const outside = asked.filter((url) => !/^(blob|data):/.test(url) && url !== pathToFileURL(SINGLE).href);
  assert.deepEqual(outside, []);
  t.diagnostic(`clip-wasm.html has ${(statSync(SINGLE).size / 1e6).toFixed(2)} MB`);
});

test("a model from disk loads, and an AVIF is decoded", async (t) => {
  const { clip, said } = await open(t);
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.loadFile(join(TEST_DATA, "tiny-gelu.q8_0.gguf"));
  await clip.modelInputs.filter({ hasText: "64 dimensions · images" }).waitFor({ state: "attached" });
  await clip.pickImages([join(FIXTURES, "cat.avif")]);
  await clip.embed();
  assert.ok((await clip.legend()).includes("cat.avif"));
  assert.equal(await clip.runError.count(), 0);
  assert.deepEqual(said, []);
});

test("a model from a URL loads, without a warning that it is not stored", async (t) => {
  const { clip, said } = await open(t);
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.page.context().setOffline(false);
  await clip.loadUrl(`${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  await clip.modelInputs.filter({ hasText: "64 dimensions · images" }).waitFor({ state: "attached" });
  assert.equal(await clip.page.locator("#model-note").isVisible(), false);
  assert.deepEqual(said, []);
});
