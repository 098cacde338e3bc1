// The Search view: a folder of drawings is indexed with the demo model, and searched by words and by pictures.

import assert from "node:assert/strict";
import { copyFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Site } from "../support/browser.mjs";
import { CASES, DRAWN, makeFolder, SearchPage } from "../support/search-page.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * The API's vectors of the drawings and of a text, ranked by a plain loop.
 * @param {Page} page
 * @param {string} text
 */
async function expectedRanking(page, text) {
  const urls = CASES.map(({ file }) => `${site.hub.origin}/demo/${file}.png`);
  const { images, texts } = await page.evaluate(
    async ({ urls, text }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load("/models/demo.gguf");
      const vectors = { images: (await clip.embedImage(urls)).data, texts: (await clip.embedText([text])).data };
      clip.close();
      return vectors;
    },
    { urls, text },
  );
  return CASES.map(({ file }, index) => ({ name: `${file}.png`, score: cosine(texts[0] ?? [], images[index] ?? []) })).sort((a, b) => b.score - a.score);
}

describe("a folder", () => {
  test("is indexed in spite of broken files, and the right pictures are found by words", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.choose(makeFolder(t));
    await search.indexed(60);
    assert.equal(await search.page.locator("#search-failures-summary").textContent(), "2 files could not be indexed");
    assert.equal(await search.failures.first().isVisible(), false, "they are folded");
    const failures = await search.failures.allTextContents();
    assert.match(failures.toSorted().join("\n"), /^Drawings\/some\/broken\.png.* unsupported_image\nDrawings\/some\/cut\.png.* corrupt_image$/);
    const wrong = [];
    for (const { caption } of CASES.filter((_, index) => index % 5 === 0)) {
      const [first] = await search.search(caption);
      const found = CASES.find(({ file }) => first?.name === `${file}.png`)?.caption;
      if (!found?.includes(caption)) wrong.push(`${caption}: ${found}`); // "a red circle" is also one on a cyan ground
    }
    assert.ok(wrong.length <= 1, `of 12 captions: ${wrong.join("; ")}`);
  });

  test("is ranked in the same order as with the API's vectors, best first", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.choose(makeFolder(t));
    await search.indexed(60);
    const text = "three green stars";
    const found = await search.search(text);
    assert.equal(found.length, 60);
    const expected = await expectedRanking(search.page, text);
    for (const [place, { name, score }] of expected.entries()) {
      const own = found.find((hit) => hit.name === name);
      assert.ok(own && Math.abs(own.score - score) <= 6e-4, `${name} has ${own?.score}, not ${score}`);
      const there = found[place]?.score ?? NaN;
      assert.ok(Math.abs(there - score) <= 6e-4, `place ${place} has ${there}, not ${score}`);
    }
  });

  test("stops when it is paused, and then continues to the end", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.pauseAfter(5, () => search.choose(makeFolder(t)));
    const paused = [await search.state.textContent(), await search.count.textContent()];
    assert.match(String(paused[0]), /^Paused, with \d+ pictures to go\.$/);
    const given = await search.embeddings();
    await search.page.waitForTimeout(1000);
    assert.deepEqual([await search.state.textContent(), await search.count.textContent()], paused);
    assert.equal(await search.embeddings(), given, "no further image was given to the encoder");
    assert.ok(given < 62, `${given} images were given to the encoder`);
    await search.page.getByRole("button", { name: "Resume" }).click();
    await search.indexed(60);
    assert.equal(await search.failures.count(), 2);
    assert.equal((await search.search("a red circle")).length, 60);
  });

  test("paused and forgotten leaves nothing", async (t) => {
    const search = await SearchPage.open(site, t);
    search.page.on("dialog", (dialog) => dialog.accept());
    await search.pauseAfter(5, () => search.choose(makeFolder(t)));
    await search.page.locator("#search-kept-summary").click();
    await search.page.getByRole("button", { name: "Forget Drawings" }).click();
    await search.state.filter({ hasText: "Nothing is indexed" }).waitFor();
    await search.page.waitForTimeout(500);
    assert.match(String(await search.state.textContent()), /^Nothing is indexed/);
    assert.deepEqual(await search.kept(), { models: 1, vectors: 0, thumbnails: 0, folders: 0 });
  });

  test("can be dropped from the desktop", async (t) => {
    const search = await SearchPage.open(site, t);
    const session = await search.page.context().newCDPSession(search.page);
    const place = await search.page.locator("#search-heading").boundingBox();
    const data = { items: [], files: [makeFolder(t)], dragOperationsMask: 1 };
    for (const type of /** @type {const} */ (["dragEnter", "dragOver", "drop"])) {
      await session.send("Input.dispatchDragEvent", { type, x: place?.x ?? 0, y: place?.y ?? 0, data });
    }
    await search.indexed(60);
    assert.equal(await search.failures.count(), 2);
    assert.deepEqual(await search.kept(), { models: 1, vectors: 60, thumbnails: 60, folders: 1 });
  });

  test("moves nothing on the page while it is indexed", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.page.evaluate(() => {
      window.shifts = [];
      new PerformanceObserver((entries) => {
        for (const entry of entries.getEntries()) {
          const { value, sources } = /** @type {any} */ (entry);
          window.shifts.push(`${value} of ${sources.map((/** @type {any} */ { node }) => node?.id || node?.className || node?.nodeName)}`);
        }
      }).observe({ type: "layout-shift", buffered: false });
    });
    await search.choose(makeFolder(t));
    await search.indexed(60);
    await search.page.waitForTimeout(200);
    assert.deepEqual(await search.page.evaluate(() => window.shifts), []);
  });
});

describe("by a picture", () => {
  test("that is chosen, dropped alone, or in the result", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.giveFiles("drop", "#view-search", CASES.slice(0, 8).map(({ file }) => ({ name: `${file}.png`, path: join(DRAWN, `${file}.png`) })));
    await search.indexed(8);
    await search.page.locator("#search-picture").setInputFiles(join(DRAWN, "shapes-0-005.png"));
    assert.deepEqual((await search.found("shapes-0-005.png"))[0], { name: "shapes-0-005.png", score: 1 });
    await search.giveFiles("drop", "#view-search", [{ name: "asked.png", path: join(DRAWN, "shapes-0-002.png") }]);
    assert.deepEqual((await search.found("asked.png"))[0], { name: "shapes-0-002.png", score: 1 });
    assert.match(String(await search.state.textContent()), /^8 pictures/, "it is not indexed itself");
    await search.page.getByRole("button", { name: "Like this: search by shapes-0-003.png" }).click();
    await search.summary.filter({ hasText: "fit shapes-0-003.png, searched" }).waitFor();
    await search.page.waitForFunction(() => document.activeElement?.id === "search-summary");
    assert.deepEqual((await search.found("shapes-0-003.png"))[0], { name: "shapes-0-003.png", score: 1 });
  });

  test("that opens in full by keyboard, and gives the focus back", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.page.locator("#search-files").setInputFiles(CASES.slice(0, 3).map(({ file }) => join(DRAWN, `${file}.png`)));
    await search.indexed(3);
    await search.search("a red circle");
    const first = search.hits.first().getByRole("button", { name: /open$/ });
    await first.focus();
    await search.page.keyboard.press("Enter");
    const picture = search.page.getByRole("dialog").locator("#picture-frame img");
    await picture.evaluate((image) => /** @type {HTMLImageElement} */ (image).decode());
    const width = await picture.evaluate((image) => /** @type {HTMLImageElement} */ (image).naturalWidth);
    assert.ok(width > 160, `it is ${width} pixels wide, as a thumbnail`);
    await search.page.keyboard.press("Escape");
    assert.equal(await search.page.getByRole("dialog").count(), 0);
    assert.equal(await first.evaluate((button) => button === document.activeElement), true);
  });

  test("that is not one, with nothing indexed, and without words: each says why", async (t) => {
    const search = await SearchPage.open(site, t);
    const code = search.page.locator("#query-error code");
    await search.page.getByRole("button", { name: "Search", exact: true }).click();
    await code.filter({ hasText: "empty_input" }).waitFor();
    await search.page.locator("#search-files").setInputFiles(join(DRAWN, "shapes-0-000.png"));
    await search.state.filter({ hasText: "1 picture indexed" }).waitFor();
    await search.page.getByRole("button", { name: "Search", exact: true }).click();
    await search.page.locator("#query-error").filter({ hasText: "type what to look for" }).waitFor();
    await search.page.locator("#search-picture").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no pixels") });
    await code.filter({ hasText: "unsupported_image" }).waitFor();
  });
});

test("if a picture kills the encoder, only that picture fails", async (t) => {
  const { page } = await site.newPage(t);
  const outcome = await page.evaluate(async () => {
    const { Indexing } = await import("/page/search/indexing.js");
    const { ClipError } = await import("/clip.js");
    const pictures = Array.from({ length: 150 }, (_, index) => ({ folder: "a", path: `${index}.png`, file: new File([], `${index}.png`), size: 0, lastModified: 0 }));
    /** @type {string[]} */
    const added = [];
    let encoders = 0;
    const encoder = {
      async *embedEach(/** @type {File[]} */ files) {
        for (const [index, { name }] of files.entries()) {
          if (name === "97.png") throw new ClipError("encoder_lost", "out of memory");
          yield { index, vector: new Float32Array(1) };
        }
      },
    };
    const collection = { add: (/** @type {{ path: string }} */ { path }) => added.push(path), flush: async () => {} };
    /** @type {any} */
    const target = { open: async () => (encoders++, { encoder, collection }), onEncoderLost: () => {} };
    let finish = () => {};
    const finished = new Promise((resolve) => (finish = () => resolve(undefined)));
    const indexing = new Indexing(() => {
      if (indexing.state !== "running" && indexing.done > 0) finish();
    });
    indexing.add(target, pictures);
    await finished;
    return { added, failures: [...indexing.failures.keys()], error: indexing.error, encoders };
  });
  const others = Array.from({ length: 150 }, (_, index) => `${index}.png`).filter((name) => name !== "97.png");
  assert.deepEqual(outcome.added.toSorted(), others.toSorted());
  assert.deepEqual(outcome.failures, ["a/97.png"]);
  assert.equal(outcome.error, null);
  assert.ok(outcome.encoders <= 4, `${outcome.encoders} encoders were loaded for it`);
});

test("360 pixels wide, nothing scrolls sideways", async (t) => {
  const search = await SearchPage.open(site, t, { viewport: { width: 360, height: 740 } });
  const folder = makeFolder(t);
  const long = `${"a-very-long-name-without-a-space-".repeat(6)}.png`;
  copyFileSync(join(DRAWN, "shapes-0-000.png"), join(folder, long));
  writeFileSync(join(folder, `broken-${basename(long)}`), "no pixels");
  await search.choose(folder);
  await search.indexed(61);
  await search.search(String(CASES[0]?.caption));
  await search.page.locator("#search-failures-summary").click();
  await search.page.locator("#search-kept-summary").click();
  const width = () => search.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok((await width()) <= 360, `${await width()} pixels wide with results and lists`);
  await search.page.evaluate(() => scrollTo({ top: 0, behavior: "instant" })); // to the first pictures, which are the only ones in the document then
  await search.page.getByRole("button", { name: `${long}, score` }).click();
  const dialog = await search.page.getByRole("dialog").boundingBox();
  assert.ok(dialog && dialog.x >= 0 && dialog.x + dialog.width <= 360, `the picture is shown from ${dialog?.x}, ${dialog?.width} pixels wide`);
});
