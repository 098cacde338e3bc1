// What the Search view keeps between visits, for each model, with several tabs, and when the disk is full.

import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site, TINY_MODEL } from "../support/browser.mjs";
import { CASES, DEMO, DRAWN, makeFolder, SearchPage } from "../support/search-page.mjs";
import { stalled } from "../support/server.mjs";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

describe("on the next visit", () => {
  test("indexed pictures are found, and only new ones are embedded", async (t) => {
    const search = await SearchPage.open(site, t);
    const folder = makeFolder(t);
    await search.choose(folder);
    await search.indexed(60);
    assert.deepEqual(await search.kept(), { models: 1, vectors: 60, thumbnails: 60, folders: 0 });

    await search.reload();
    await search.indexed(60);
    const [first] = await search.search("three yellow triangles");
    assert.equal(first?.name, "shapes-0-017.png");
    assert.equal(await search.embeddings(), 0);
    await search.page.waitForFunction(() => {
      const thumbnails = /** @type {HTMLImageElement[]} */ ([...document.querySelectorAll("#search-hits img")]);
      return thumbnails.length >= 24 && thumbnails.every(({ naturalWidth }) => naturalWidth === 160);
    });

    await search.choose(folder);
    await search.page.waitForFunction(() => document.querySelectorAll("#search-failures-list > li").length === 2);
    await search.indexed(60);
    assert.equal(await search.embeddings(), 2, "the broken ones are tried again");

    copyFileSync(join(DRAWN, "shapes-0-099.png"), join(folder, "new.png"));
    appendFileSync(join(folder, "shapes-0-000.png"), "\0"); // after its end: the picture is the same, the file is not
    await search.choose(folder);
    await search.indexed(61);
    assert.equal(await search.embeddings(), 2 + 4, "the new one, the changed one, and the broken ones");
  });

  test("one folder is forgotten, then everything", async (t) => {
    const search = await SearchPage.open(site, t);
    search.page.on("dialog", (dialog) => dialog.accept());
    await search.choose(makeFolder(t));
    await search.indexed(60);
    await search.page.locator("#search-files").setInputFiles([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
    await search.indexed(62);
    assert.equal((await search.search("a red circle")).length, 62);
    await search.page.locator("#search-kept-summary").filter({ hasText: "62 pictures in 2 folders" }).click();
    await search.page.getByRole("button", { name: "Forget Drawings" }).click();
    await search.indexed(2);
    assert.equal(await search.hits.count(), 0);
    assert.deepEqual(await search.kept(), { models: 1, vectors: 2, thumbnails: 2, folders: 0 });
    assert.equal((await search.search("a red circle")).length, 2, "the others are still found");

    await search.page.getByRole("button", { name: "Forget all of it" }).click();
    await search.state.filter({ hasText: `Nothing is indexed for ${DEMO} yet.` }).waitFor();
    assert.equal(await search.page.locator("#search-kept").isVisible(), false);
    assert.deepEqual(await search.kept(), { models: 0, vectors: 0, thumbnails: 0, folders: 0 });
    await search.reload();
    await search.state.filter({ hasText: `Nothing is indexed for ${DEMO} yet.` }).waitFor();
  });

  test("a folder opened by its handle can be opened again", async (t) => {
    const search = await SearchPage.open(site, t);
    // The origin private file system takes the place of the disk: a test cannot use the browser's dialog.
    const pictures = [0, 4, 8].map((index) => readFileSync(join(DRAWN, `${CASES[index]?.file}.png`), "base64"));
    await search.page.evaluate(async (pictures) => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("Holidays", { create: true });
      const deeper = await folder.getDirectoryHandle("deeper", { create: true });
      for (const [index, base64] of pictures.entries()) {
        const file = await (index ? deeper : folder).getFileHandle(`${index}.png`, { create: true });
        const writable = await file.createWritable();
        await writable.write(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
        await writable.close();
      }
      Object.assign(window, { showDirectoryPicker: async () => folder });
    }, pictures);
    await search.page.getByRole("button", { name: "Choose a folder…" }).click();
    await search.indexed(3);

    await search.reload();
    await search.indexed(3);
    await search.search("a red circle");
    await search.hits.first().getByRole("button", { name: /open$/ }).click();
    const about = search.page.locator("#picture-about");
    assert.match(String(await about.textContent()), /Only its thumbnail is stored/);
    await search.page.getByRole("button", { name: "Close" }).click();
    await search.page.locator("#search-kept-summary").click();
    await search.page.getByRole("button", { name: "Open Holidays again" }).click();
    await search.page.getByRole("button", { name: "Open Holidays again" }).waitFor({ state: "detached" });
    assert.equal(await search.embeddings(), 0);
    await search.hits.first().getByRole("button", { name: /open$/ }).click();
    assert.match(String(await about.textContent()), /^Score 0\.\d{3}, 1 of 3\.$/);
  });
});

test("each model has its own index, and the page says if there is one for another model", async (t) => {
  const search = await SearchPage.open(site, t);
  await search.choose(makeFolder(t));
  await search.indexed(60);
  await search.loadTinyModel();
  await search.state.filter({ hasText: "Nothing is indexed for" }).waitFor();
  const tiny = /for (.*) yet/.exec(String(await search.state.textContent()))?.[1] ?? "";
  assert.match(String(await search.note.textContent()), new RegExp(`Indexed for other models than this one: 60 pictures for ${DEMO}`));
  await search.page.getByRole("button", { name: "Index 62 pictures for this model" }).click();
  await search.indexed(60, tiny);
  assert.equal((await search.search("a red circle")).length, 60);
  assert.deepEqual(await search.kept(), { models: 2, vectors: 120, thumbnails: 60, folders: 0 });

  const given = await search.embeddings();
  await search.chooseOrigin("Menu");
  await search.page.getByRole("button", { name: "Load", exact: true }).click();
  await search.indexed(60);
  assert.equal(await search.hits.count(), 0, "the other model's results are gone");
  assert.equal((await search.search("a red circle"))[0]?.name, "shapes-0-000.png");
  assert.equal(await search.embeddings(), given);
});

test("if the model is changed during indexing, its index gets no vectors of the other model", async (t) => {
  const search = await SearchPage.open(site, t);
  await search.choose(makeFolder(t, 20));
  await search.page.waitForFunction(() => /^\d+ of/.test(document.querySelector("#indexing-count")?.textContent ?? ""));
  // In use for texts, while its images are still loading.
  let proceed = () => {};
  const rest = new Promise((/** @type {(value: void) => void} */ resolve) => (proceed = resolve));
  await search.loadUrl(site.hub.answer("/m.gguf", stalled(TINY_MODEL, 4_450_000, rest)));
  await search.modelState.filter({ hasText: "images as soon as the rest is loaded" }).waitFor();
  await search.page.waitForTimeout(500);
  assert.equal(await search.page.locator("#view-search [role=alert]").count(), 0);
  proceed();
  await search.state.filter({ hasText: "Nothing is indexed for" }).waitFor();
  assert.equal(await search.count.textContent(), "");
  assert.equal(await search.page.locator("#view-search [role=alert]").count(), 0);
  await search.page.getByRole("button", { name: "Index 1,202 pictures for this model" }).waitFor();
  const kept = await search.kept();
  assert.ok(Number(kept?.vectors) < 1200, `${kept?.vectors} vectors: it was still indexing`);
});

test("two tabs can index the same folder", async (t) => {
  const search = await SearchPage.open(site, t);
  const other = new SearchPage(await search.page.context().newPage(), site);
  await other.reload();
  const folder = makeFolder(t);
  await other.choose(folder);
  await search.page.bringToFront();
  await search.choose(folder);
  await search.indexed(60);
  await other.page.bringToFront();
  await other.indexed(60);
  assert.deepEqual(await search.kept(), { models: 1, vectors: 60, thumbnails: 60, folders: 0 });
});

test("if the device has no more storage, indexing continues in memory, and the page says so", async (t) => {
  const search = await SearchPage.open(site, t);
  const session = await search.page.context().newCDPSession(search.page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: site.own.origin, quotaSize: 1 });
  await search.choose(makeFolder(t));
  await search.indexed(60);
  await search.note.filter({ hasText: "not kept for the next visit: this device has no more storage" }).waitFor();
  assert.equal((await search.search("three yellow triangles"))[0]?.name, "shapes-0-017.png");
  await search.page.locator("#search-hits img").nth(23).waitFor(); // with their thumbnails
  await session.send("Storage.overrideQuotaForOrigin", { origin: site.own.origin });
  await search.reload();
  await search.state.filter({ hasText: "Nothing is indexed for" }).waitFor();
});
