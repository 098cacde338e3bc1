// A model that is loaded for images only, or for texts only; and the rest of it, loaded later.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FIXTURES, modelWorkers, REPOSITORY, shownCode, Site, TEST_DATA } from "../support/browser.mjs";
import { status } from "../support/server.mjs";

const MODEL = "/tiny-hf/model.safetensors";
const SOURCE = join(TEST_DATA, MODEL);

/** What the line of facts is like when all is loaded. */
const WHOLE = /^[^·]+ MB · [^·]*thread/;

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @import { TestContext } from "node:test" */
/** @import { ClipPage } from "../support/browser.mjs" */

/** @param {TestContext} t */
async function open(t) {
  const clip = await site.newPage(t);
  const url = site.hub.parts(MODEL, SOURCE);
  const entry = { name: "Tiny", type: "q8_0", description: "Tiny.", parameters: 1e6, licence: "MIT", url, towers: { text: 13_200_000, vision: 1_300_000 } };
  site.own.answer("/models.json", (_request, response) => void response.end(JSON.stringify([entry])));
  await clip.page.reload();
  await clip.menuShown();
  await clip.openModelPanel();
  return { clip, purpose: clip.page.getByLabel("Load it", { exact: true }) };
}

/** Presses Load and waits until that has ended, one way or the other. @param {ClipPage} clip */
async function press(clip) {
  await clip.page.getByRole("button", { name: "Load", exact: true }).click();
  await clip.page.waitForFunction(() => document.querySelector("#model-cancel")?.classList.contains("absent"));
}

test("images only: what it downloads is said before, a text says what is missing, and the rest follows without the images'", async (t) => {
  const { clip, purpose } = await open(t);
  assert.deepEqual(await purpose.locator("option").allTextContents(), ["for images and texts", "for images only · 1 MB download", "for texts only · 13 MB download"]);
  await purpose.selectOption("vision");
  await clip.page.getByRole("button", { name: "Load", exact: true }).click();
  await clip.ready();
  assert.match(String(await clip.modelFacts.textContent()), / · images only · /);
  await clip.pickImages([join(FIXTURES, "cat.png")]);
  await clip.embed();
  const image = (await clip.copied()).data[0];
  await clip.texts.fill("a dog");
  await clip.embed();
  const failure = clip.page.locator("#text-errors .error");
  assert.equal(await shownCode(failure), "missing_tower");

  await clip.openModelPanel();
  assert.equal(await clip.page.getByRole("button", { name: "Loaded" }).isDisabled(), true);
  site.hub.requests.length = 0;
  const before = site.hub.sent;
  await purpose.selectOption("");
  await clip.page.getByRole("button", { name: "Load", exact: true }).click();
  await clip.modelFacts.filter({ hasText: WHOLE }).waitFor();
  await clip.ready();
  await clip.embed();
  const { data } = await clip.copied();
  assert.equal(data.length, 2);
  assert.deepEqual(data[1], image);
  assert.ok(site.hub.sent - before < statSync(SOURCE).size, `${site.hub.sent - before} bytes`);
  await clip.openModelPanel();
  await purpose.selectOption("text");
  assert.equal(await clip.page.getByRole("button", { name: "Loaded" }).isDisabled(), true, "a whole model embeds texts too");
});

test("texts only, when Embed is pressed before Load, and closing the panel restores what is in use", async (t) => {
  const { clip, purpose } = await open(t);
  await purpose.selectOption("text");
  await clip.texts.fill("a dog");
  await clip.embed();
  assert.equal((await clip.copied()).data.length, 1);
  assert.match(String(await clip.modelFacts.textContent()), / · texts only · /);
  await purpose.selectOption("");
  await clip.page.getByRole("button", { name: "Change model" }).click();
  assert.equal(await purpose.isVisible(), false);
  await clip.openModelPanel();
  assert.equal(await purpose.inputValue(), "text");
});

test("at the next visit, a model of which one tower is kept is proposed for that one, until it is deleted", async (t) => {
  const { clip, purpose } = await open(t);
  const menu = clip.page.locator("#model-menu");
  const small = { name: "Small", type: "f32", description: "Small.", parameters: 1e6, licence: "MIT", url: "m.gguf", builtIn: true };
  const [tiny] = JSON.parse(await (await fetch(`${site.own.origin}/models.json`)).text());
  await purpose.selectOption("vision");
  await press(clip);
  await clip.ready();
  for (const first of [true, false]) {
    const entries = first ? [tiny, small] : [small, tiny];
    site.own.answer("/models.json", (_request, response) => void response.end(JSON.stringify(entries)));
    await clip.page.reload();
    await clip.openModelPanel();
    await clip.page.locator("#kept").waitFor();
    if (!first) await menu.selectOption({ index: 1 });
    await clip.page.waitForFunction(() => /** @type {HTMLSelectElement} */ (document.querySelector("#model-towers")).value === "vision");
  }
  const asked = site.hub.requests.length;
  await press(clip);
  await clip.ready();
  assert.equal(site.hub.requests.length, asked, "it is all stored");
  await clip.openModelPanel();
  await menu.selectOption({ index: 0 });
  await menu.selectOption({ index: 1 });
  assert.equal(await purpose.inputValue(), "vision");
  await clip.page.locator("#kept summary").click();
  await clip.page.getByRole("button", { name: "Delete Tiny · q8_0" }).click();
  await clip.page.locator("#kept").waitFor({ state: "hidden" });
  await menu.selectOption({ index: 0 });
  await menu.selectOption({ index: 1 });
  assert.equal(await purpose.inputValue(), "");
});

test("the demo model is always whole", async (t) => {
  const clip = await site.newPage(t);
  await clip.menuShown();
  await clip.openModelPanel();
  assert.equal(await clip.page.getByLabel("Load it", { exact: true }).isVisible(), false);
  await clip.chooseOrigin("Name or URL");
  assert.equal(await clip.page.getByLabel("Load it", { exact: true }).isVisible(), true);
});

test("a device with room for images, but not for all, is asked, and “Load it anyway” loads the rest", async (t) => {
  const { clip, purpose } = await open(t);
  const worker = readFileSync(join(REPOSITORY, "www/pkg/workers/model-worker.js"), "utf8");
  site.own.answer("/pkg/workers/model-worker.js", (_request, response) => {
    response.writeHead(200, { "content-type": "text/javascript" }).end(`Object.defineProperty(navigator, "deviceMemory", { value: 0.19 });\n${worker}`);
  });
  await purpose.selectOption("vision");
  await press(clip);
  await clip.ready();
  await clip.openModelPanel();
  await purpose.selectOption("");
  await press(clip);
  assert.equal(await shownCode(clip.modelError), "low_memory");
  await clip.page.getByRole("button", { name: "Load it anyway" }).click();
  await clip.modelFacts.filter({ hasText: WHOLE }).waitFor();
  assert.equal(await clip.modelError.isVisible(), false);
});

test("the rest of a model whose worker was lost is loaded with the model", async (t) => {
  const { clip, purpose } = await open(t);
  await purpose.selectOption("vision");
  await press(clip);
  await clip.ready();
  await clip.openModelPanel();
  await clip.page.locator("#kept summary").click();
  await clip.page.getByRole("button", { name: /^Delete/ }).click();
  await clip.page.locator("#kept").waitFor({ state: "hidden" });
  site.hub.answer(MODEL, status(404));
  const [worker] = modelWorkers(clip.page);
  const closed = worker?.waitForEvent("close");
  worker?.evaluate(() => self.close()).catch(() => {});
  await closed;
  await clip.page.waitForFunction(() => document.querySelector("#model-note")?.textContent !== "");
  await clip.modelState.filter({ hasText: "Ready" }).waitFor(); // the replacement has failed, too
  site.hub.parts(MODEL, SOURCE);
  await purpose.selectOption("");
  await press(clip);
  await clip.ready();
  assert.equal(await clip.modelError.isVisible(), false);
  assert.doesNotMatch(String(await clip.modelFacts.textContent()), /only/);
});

test("pictures are indexed with the images' tower after the texts' has failed to load", async (t) => {
  const { clip, purpose } = await open(t);
  await purpose.selectOption("vision");
  await press(clip);
  await clip.ready();
  await clip.page.goto(`${site.own.origin}/#/search`);
  await clip.page.locator("#view-search").waitFor();
  site.hub.answer(MODEL, status(404));
  await clip.openModelPanel();
  await purpose.selectOption("");
  await press(clip);
  assert.equal(await shownCode(clip.modelError), "http_status");
  await clip.page.locator("#search-files").setInputFiles([join(FIXTURES, "cat.png")]);
  await clip.page.locator("#search-state").filter({ hasText: /^1 picture indexed/ }).waitFor();
});

test("after a failed load for one purpose, another purpose of the same model is loaded", async (t) => {
  const { clip, purpose } = await open(t);
  await clip.loadTinyModel();
  await clip.chooseOrigin("Menu");
  site.hub.answer(MODEL, status(404));
  await purpose.selectOption("vision");
  await press(clip);
  site.hub.parts(MODEL, SOURCE);
  await purpose.selectOption("text");
  await clip.texts.fill("a dog");
  await clip.embed();
  assert.match(String(await clip.modelFacts.textContent()), /texts only/);
});

test("dropped files are a whole model, whatever the one before was loaded for", async (t) => {
  const { clip, purpose } = await open(t);
  await purpose.selectOption("vision");
  await press(clip);
  await clip.ready();
  await clip.giveFiles("drop", "body", [{ name: "dropped.gguf", path: join(TEST_DATA, "tiny-gelu.q8_0.gguf") }]);
  await clip.modelFacts.filter({ hasText: WHOLE }).waitFor();
});
