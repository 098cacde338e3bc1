// What the page stores, how it shows that, and how it uses it on the next visit.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { FIXTURES, REPOSITORY, shownCode, Site, TINY_MODEL } from "../support/browser.mjs";
import { status } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { Page } from "playwright-core" */
/** @import { ClipPage } from "../support/browser.mjs" */

const WWW = join(REPOSITORY, "www");
const MODEL = "/tiny-gelu.q8_0.gguf";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {Page} page */
async function serviceWorkerReady(page) {
  await waitUntil("the service worker is active", () =>
    page.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.active?.state === "activated"),
  );
}

/**
 * Embeds a text and the sample image.
 * @param {ClipPage} clip
 */
async function vectors(clip) {
  await clip.texts.fill("a photo of a cat");
  await clip.pickImages([join(FIXTURES, "cat.png")]);
  await clip.embed();
  const { data } = await clip.copied();
  assert.equal(data.length, 2);
  return data;
}

describe("without a network", () => {
  test("the page, reloaded with its server stopped, embeds with stored files", async (t) => {
    const site = await Site.open();
    t.after(() => site.close());
    const clip = await site.newPageWithServiceWorker(t);
    await clip.loadTinyModel();
    await clip.page.locator("#model-bar").waitFor({ state: "hidden" });
    const want = await vectors(clip);
    await serviceWorkerReady(clip.page);
    const url = site.hub.origin + MODEL;
    await Promise.all([site.own.stop(), site.hub.stop()]);
    for (let visit = 0; visit < 2; visit++) {
      await clip.page.reload();
      await clip.loadUrl(url);
      await clip.modelState.filter({ hasText: "Ready" }).waitFor();
      assert.deepEqual(await vectors(clip), want);
    }
    record({ section: "faults", what: "no network", tried: "two visits with the servers stopped", outcome: "the page and the model load from this device, with equal vectors" });
  });

  test("so does the demo model on the second visit, without a click", async (t) => {
    const site = await Site.open();
    t.after(() => site.close());
    const clip = await site.visit(t);
    await clip.page.locator("#comparison .verdict").waitFor();
    await serviceWorkerReady(clip.page);
    await site.own.stop();
    await clip.page.reload();
    await clip.page.locator("#comparison .verdict").waitFor();
  });

  test("every file of the page is stored", () => {
    const source = readFileSync(join(WWW, "sw.js"), "utf8");
    const listed = [...source.matchAll(/const (?:PAGE|LATER) = \[([^\]]+)\]/g)]
      .flatMap(([, list]) => [...String(list).matchAll(/"([^"]+)"/g)])
      .map(([, path]) => String(path));
    // Workers are one file each, which ./build.sh makes: see sw.js.
    const scripts = new Set(["main.js", "page/shell/start.js", "page/search/vector-worker.js", "page/search/thumbnail-worker.js", "clip.js", "endpoint.js"]);
    for (const path of scripts) {
      const code = readFileSync(join(WWW, path), "utf8").replace(/^\s*(\/\*\*|\*|\/\/).*$/gm, "");
      for (const [, target] of code.matchAll(/(?:from |import\(|import )"(\.{1,2}\/[^"]+)"/g)) scripts.add(join(dirname(path), String(target)));
    }
    const others = readdirSync(WWW, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith(".js"))
      .map((entry) => relative(WWW, join(entry.parentPath, entry.name)))
      .filter((path) => !/^pkg\/|^(index\.html|_headers|check\/README\.md|models\/demo\.md)$/.test(path));
    assert.deepEqual(listed.toSorted(), ["./", ...scripts, ...others].toSorted());
  });

  test("the menu has the right SHA-256 of the demo model", () => {
    const [{ url, sha256, size }] = JSON.parse(readFileSync(join(WWW, "models.json"), "utf8"));
    const bytes = readFileSync(join(WWW, url));
    assert.deepEqual([sha256, size], [createHash("sha256").update(bytes).digest("hex"), bytes.length]);
  });
});

describe("the list of stored models", () => {
  test("appears with the first model, and deletes it with a click", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    const panel = clip.page.locator("#kept");
    assert.equal(await panel.isVisible(), false);
    await clip.loadTinyModel();
    await clip.openModelPanel();
    await clip.page.locator("#kept-summary").filter({ hasText: "Kept on this device: 1 model, 4.6 MB" }).click();
    assert.match(String(await panel.locator("li").textContent()), /tiny-gelu\.q8_0\.gguf4\.6 MB · whole/);
    await panel.getByRole("button", { name: /^Delete/ }).click();
    await panel.waitFor({ state: "hidden" });
    await clip.page.reload();
    assert.equal(await panel.isVisible(), false);
  });

  test("shows how much of a cancelled load is stored, and that loading continues from there", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    const size = statSync(TINY_MODEL).size;
    site.hub.parts(MODEL, TINY_MODEL, { silentAfter: (from) => (from === 0 ? 2_000_000 : size) });
    await clip.loadUrl(site.hub.origin + MODEL);
    await clip.page.locator("#model-facts").filter({ hasText: "2.0 MB" }).waitFor();
    await clip.page.getByRole("button", { name: "Cancel" }).click();
    await clip.page.locator("#kept-summary").filter({ hasText: "1 model, 2.0 MB" }).click();
    assert.match(String(await clip.page.locator("#kept li").textContent()), /2\.0 MB · in part of 4\.6 MB; loading continues from there/);
    await clip.loadTinyModel();
    assert.match(String(site.hub.ranges[1]), /^2000000-/);
  });
});

describe("texts before images", () => {
  test("a text is embedded while the rest loads; if that is cancelled, the Load button loads it", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    site.hub.parts(MODEL, TINY_MODEL, { silentAfter: (from) => (from === 0 ? 4_450_000 : 1e9) });
    await clip.loadUrl(site.hub.origin + MODEL);
    await clip.modelState.filter({ hasText: "images as soon as the rest is loaded" }).waitFor();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    assert.equal((await clip.copied()).data.length, 1);
    await clip.page.getByRole("button", { name: "Cancel" }).click();
    await clip.modelState.filter({ hasText: /q8_0$/ }).waitFor();
    await clip.openModelPanel();
    assert.match(String(await clip.modelInputs.textContent()), /· 64 dimensions · texts to 77 tokens$/);
    await clip.page.getByRole("button", { name: "Load", exact: true }).click();
    await clip.modelInputs.filter({ hasText: "images at 64 px, texts to 77 tokens" }).waitFor({ state: "attached" });
    await vectors(clip);
  });
});

describe("a device with little memory", () => {
  const menu = (/** @type {string} */ origin) => [
    { name: "Large", type: "q8_0", description: "Large.", parameters: 1e6, licence: "MIT", url: `${origin}${MODEL}`, size: 4_583_840 },
    { name: "Small", type: "q8_0", description: "Small.", parameters: 1e6, licence: "MIT", url: "models/demo.gguf", size: 2_423_616 },
  ];

  /** @param {ClipPage} clip */
  async function reopen(clip) {
    site.own.answer("/models.json", (_request, response) => void response.end(JSON.stringify(menu(site.hub.origin))));
    await clip.page.reload();
    await clip.openModelPanel();
  }

  test("is offered a smaller model, and to load the chosen one anyway", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    site.own.answer("/pkg/workers/model-worker.js", (_request, response) => {
      response.writeHead(200, { "content-type": "text/javascript" });
      response.end(`Object.defineProperty(navigator, "deviceMemory", { value: 0.125 });\n${readFileSync(join(WWW, "pkg/workers/model-worker.js"))}`);
    });
    await reopen(clip);
    await clip.page.getByRole("button", { name: "Load", exact: true }).click();
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "low_memory");
    await clip.page.getByRole("button", { name: "Load it anyway" }).click();
    await clip.ready();
    assert.equal(await clip.page.locator("#model-offer").isVisible(), false);
    await reopen(clip);
    await clip.page.getByRole("button", { name: "Load", exact: true }).click();
    await clip.modelError.waitFor();
    await clip.page.getByRole("button", { name: "Load Small · q8_0 · 2.4 MB" }).click();
    await clip.modelError.waitFor(); // it is too large here too
    assert.match(String(await clip.page.locator("#model-menu").evaluate((/** @type {HTMLSelectElement} */ menu) => menu.value)), /^Small/);
  });

  test("that crashed during a load is offered other models", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await reopen(clip);
    site.hub.parts(MODEL, TINY_MODEL, { silentAfter: () => 1_000_000 });
    await clip.page.getByRole("button", { name: "Load", exact: true }).click();
    await clip.page.locator("#model-facts").filter({ hasText: "1.0 MB" }).waitFor();
    const crashed = clip.page.waitForEvent("crash");
    clip.page.goto("chrome://crash").catch(() => {});
    await crashed;
    site.hub.answer(MODEL, status(404));
    const page = await clip.page.context().newPage();
    await page.goto(site.own.origin);
    const note = page.locator("#model-note");
    await note.waitFor();
    assert.match(String(await note.textContent()), /crashed while it loaded Large · q8_0, perhaps because memory ran out/);
    await page.getByRole("button", { name: "Load Small · q8_0 · 2.4 MB" }).click();
    await page.locator("#model-state").filter({ hasText: "Ready" }).waitFor();
    await page.reload();
    await page.locator("#model-state").waitFor();
    assert.equal(await note.isVisible(), false, "it is said once");
    record({ section: "faults", what: "a page that crashes while it loads", tried: "once", outcome: "the next visit says so, and offers a smaller model" });
  });

  test("that closes or reloads a page during a load is not said to have crashed", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    site.hub.parts(MODEL, TINY_MODEL, { silentAfter: () => 1_000_000 });
    await clip.loadUrl(site.hub.origin + MODEL);
    await clip.page.locator("#model-facts").filter({ hasText: "1.0 MB" }).waitFor();
    await clip.page.reload();
    await clip.modelState.waitFor();
    await clip.page.waitForTimeout(300);
    assert.equal(await clip.page.locator("#model-note").isVisible(), false);
  });
});
