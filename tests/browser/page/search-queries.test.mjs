// Searching by more than words: with a picture, without something, for duplicates; and what one does with the result.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Site, TEST_DATA } from "../support/browser.mjs";
import { CASES, DEMO, DRAWN, makeFolder, SearchPage } from "../support/search-page.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

const files = CASES.map(({ file }) => `${file}.png`);

/**
 * The API's vectors of the drawings, and of texts.
 * @param {Page} page
 * @param {string[]} texts
 */
function vectorsOf(page, texts) {
  const urls = files.map((file) => `${site.hub.origin}/demo/${file}`);
  return page.evaluate(
    async ({ urls, texts }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load("/models/demo.gguf");
      const vectors = { images: (await clip.embedImage(urls)).data, texts: (await clip.embedText(texts)).data };
      clip.close();
      return vectors;
    },
    { urls, texts },
  );
}

/** Of each score its distance from the mean, in standard deviations. @param {number[]} scores */
function standardised(scores) {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const deviation = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length);
  return scores.map((score) => (score - mean) / deviation);
}

describe("a query", () => {
  test("of words and a picture is near to both, and less of something is farther from it", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.choose(makeFolder(t));
    await search.indexed(60);
    const [text, less] = ["a blue background", "a star"];
    const { images, texts } = await vectorsOf(search.page, [text, less]);
    const scores = (/** @type {number[] | undefined} */ vector) => standardised(images.map((image) => cosine(vector ?? [], image)));
    const [words = [], without = [], like = []] = [texts[0], texts[1], images[3]].map(scores);

    await search.page.getByLabel("What to look for").fill(text);
    await search.page.locator("#search-picture").setInputFiles(join(DRAWN, String(files[3])));
    await assertRanked(search, `“${text}” and ${files[3]}`, words.map((score, index) => score + Number(like[index])));

    await search.page.getByLabel("less of").fill(less);
    await search.page.getByRole("button", { name: "Search", exact: true }).click();
    const expected = words.map((score, index) => score + Number(like[index]) - Math.max(0, Number(without[index])));
    await assertRanked(search, `“${text}” and ${files[3]} without “${less}”`, expected);

    await search.page.getByRole("button", { name: `Do not search by ${files[3]}` }).click();
    await assertRanked(search, `“${text}” without “${less}”`, words.map((score, index) => score - Math.max(0, Number(without[index]))));
    assert.equal(await search.page.locator("#search-like").isVisible(), false);

    await search.page.getByLabel("What to look for").fill("");
    await search.page.getByRole("button", { name: "Search", exact: true }).click();
    await assertRanked(search, `without “${less}”`, without.map((score) => -score));
  });

  /**
   * @param {SearchPage} search
   * @param {string} query
   * @param {number[]} expected scores, by drawing
   */
  async function assertRanked(search, query, expected) {
    const found = await search.found(query);
    assert.equal(found.length, 60);
    const best = expected.toSorted((a, b) => b - a);
    for (const [place, { name, score }] of found.entries()) {
      assert.ok(Math.abs(score - Number(best[place])) < 0.01, `${query}: place ${place} has ${score}, not ${best[place]}`);
      assert.ok(Math.abs(score - Number(expected[files.indexOf(name)])) < 0.01, `${query}: ${name} has ${score}`);
    }
  }
});

test("duplicates are found in groups, however the picture was stored", async (t) => {
  const search = await SearchPage.open(site, t);
  const folder = makeFolder(t);
  copyFileSync(join(DRAWN, String(files[0])), join(folder, "copy.png"));
  copyFileSync(join(DRAWN, String(files[0])), join(folder, "another copy.png"));
  copyFileSync(join(DRAWN, String(files[1])), join(folder, "second.png"));
  await search.choose(folder);
  await search.indexed(63);
  await search.page.getByLabel("How alike").selectOption("0.999");
  await search.page.getByRole("button", { name: "Find duplicates" }).click();
  await search.summary.filter({ hasText: "with a cosine of 0.999 or more" }).waitFor();
  const groups = new Map();
  for (const [path = "", score, group] of await search.exported()) {
    groups.set(group, [...(groups.get(group) ?? []), basename(path)]);
    assert.ok(Number(score) >= 0.999);
  }
  const own = [...groups.values()].filter((group) => group.some((/** @type {string} */ name) => !files.includes(name)));
  assert.deepEqual(own.map((group) => group.toSorted()), [["another copy.png", "copy.png", files[0]], ["second.png", files[1]]]);
  assert.deepEqual((await search.page.locator("#search-hits h3").allTextContents()).slice(0, 1), ["3 pictures"]);

  await search.page.getByLabel("How alike").selectOption("0.93");
  await search.page.getByRole("button", { name: "Find duplicates" }).click();
  await search.summary.filter({ hasText: "with a cosine of 0.93 or more" }).waitFor();
  const { images } = await vectorsOf(search.page, ["a star"]);
  const near = images.map((image, index) => images.some((other, place) => place !== index && cosine(image, other) >= 0.93));
  const shown = new Set((await search.exported()).map(([path = ""]) => basename(path)));
  for (const [index, file] of files.entries()) {
    if (index > 1) assert.equal(shown.has(file), near[index], file);
  }
});

describe("the result", () => {
  test("is a grid by keyboard; a picture opens, the next one follows, its name is copied", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.choose(makeFolder(t));
    await search.indexed(60);
    const found = await search.search("a red circle");
    const { keyboard } = search.page;
    const focused = () => search.page.evaluate(() => Number(/** @type {HTMLElement} */ (document.activeElement?.closest("li"))?.dataset.index));
    await search.page.getByRole("button", { name: "Export names" }).focus();
    await keyboard.press("Tab");
    assert.equal(await focused(), 0);
    const columns = await search.hits.evaluateAll((hits) => new Set(hits.map((hit) => /** @type {HTMLElement} */ (hit).style.left)).size);
    for (const [key, place] of /** @type {[string, number][]} */ ([["ArrowRight", 1], ["ArrowDown", 1 + columns], ["ArrowLeft", columns], ["ArrowUp", 0], ["ArrowUp", 0], ["End", 59], ["ArrowRight", 59], ["Home", 0]])) {
      await keyboard.press(key);
      assert.equal(await focused(), place, key);
      const box = await search.page.evaluate(() => document.activeElement?.getBoundingClientRect().toJSON());
      assert.ok(box.top >= 0 && box.bottom <= 900, `${key}: the focus is at ${box.top} to ${box.bottom}`);
    }
    await keyboard.press("Tab"); // "Like this"
    await keyboard.press("Tab");
    assert.ok(Number.isNaN(await focused()), "Tab leaves the grid");
    await keyboard.press("Shift+Tab");
    await keyboard.press("Shift+Tab");
    assert.equal(await focused(), 0);
    await keyboard.press("Enter");
    await search.page.getByRole("dialog").waitFor();
    await keyboard.press("ArrowRight");
    const name = search.page.locator("#picture-name");
    await name.filter({ hasText: String(found[1]?.name) }).waitFor();
    assert.match(String(await search.page.locator("#picture-about").textContent()), /, 2 of 60\.$/);
    await search.page.getByRole("button", { name: "Copy name" }).click();
    await search.page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await search.page.evaluate(() => navigator.clipboard.readText()), found[1]?.name);
    await keyboard.press("Escape");
    // The focus moves to the picture that was shown last.
    await search.page.waitForFunction(() => /** @type {HTMLElement} */ (document.activeElement?.closest("li"))?.dataset.index === "1");
  });
});

describe("an index", () => {
  const READER = `
import json, sys, numpy
index = numpy.load(sys.argv[1])
print(json.dumps({"names": index["name"].tolist(), "folders": index["folder"].tolist(), "models": sorted(set(index["model"].tolist())), "sizes": index["size"].tolist(), "vectors": index["vector"].tolist()}))
`;

  test("is read by NumPy, and by another visitor's page", async (t) => {
    const search = await SearchPage.open(site, t);
    const folder = makeFolder(t);
    copyFileSync(join(DRAWN, "shapes-0-000.png"), join(folder, "Ünïcode 🌊.png"));
    await search.choose(folder);
    await search.indexed(61);
    const ranked = await search.search("a red circle");
    await search.page.getByText("Take the index elsewhere").click();
    const downloading = search.page.waitForEvent("download");
    await search.page.getByRole("button", { name: "Export the index" }).click();
    const download = await downloading;
    assert.equal(download.suggestedFilename(), "pictures shapes-and-colours q8_0.npy");
    const path = await download.path();
    const read = JSON.parse(execFileSync("python3", ["-c", READER, path], { encoding: "utf8", env: { ...process.env, PYTHONPATH: join(TEST_DATA, "python") } }));
    assert.equal(read.names.length, 61);
    assert.deepEqual(read.names.map((/** @type {string} */ name) => basename(name)).toSorted(), [...files, "Ünïcode 🌊.png"].toSorted());
    assert.deepEqual([...new Set(read.folders)], ["Drawings"]);
    assert.match(read.models.join(), new RegExp(`^${DEMO} [0-9a-f]{16}$`));
    const { images } = await vectorsOf(search.page, ["a star"]);
    for (const [row, name] of read.names.entries()) {
      const own = images[files.indexOf(basename(name))];
      if (own) assert.deepEqual(read.vectors[row], own, name);
    }

    const other = await SearchPage.open(site, t);
    await other.state.filter({ hasText: "Nothing is indexed" }).waitFor();
    await other.page.getByText("Take the index elsewhere").click();
    await other.page.locator("#index-import").setInputFiles(path);
    await other.indexed(61);
    assert.deepEqual(await other.search("a red circle"), ranked);
    await other.choose(folder);
    await other.page.waitForFunction(() => document.querySelectorAll("#search-failures-list > li").length === 2);
    assert.equal(await other.embeddings(), 2, "only what the index does not have");
    await other.search("a red circle");
    await other.page.locator("#search-hits img").first().waitFor(); // made of the file
    await other.reload();
    await other.indexed(61);
  });

  test("of another model, of no model, or damaged is refused", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.page.locator("#search-files").setInputFiles(join(DRAWN, String(files[0])));
    await search.state.filter({ hasText: "1 picture indexed" }).waitFor();
    await search.page.getByText("Take the index elsewhere").click();
    const downloading = search.page.waitForEvent("download");
    await search.page.getByRole("button", { name: "Export the index" }).click();
    const path = await (await downloading).path();
    const own = readFileSync(path);
    const error = search.page.locator("#search-kept-error");
    const give = async (/** @type {Buffer} */ buffer, /** @type {RegExp} */ reason) => {
      await search.page.locator("#index-import").setInputFiles({ name: "index.npy", mimeType: "", buffer });
      await error.filter({ hasText: reason }).waitFor();
      await error.filter({ hasText: "invalid_input" }).waitFor();
    };
    await give(Buffer.from("no array"), /no NumPy file/);
    await give(own.subarray(0, own.length - 1), /cut short/);
    await give(Buffer.from(own.toString("latin1").replace("'name'", "'nome'"), "latin1"), /no field “name”/);
    const plain = join(TEST_DATA, "plain.npy");
    writeFileSync(plain, execFileSync("python3", ["-c", "import numpy, sys; numpy.save(sys.stdout.buffer, numpy.zeros((3, 128), numpy.float32))"], { env: { ...process.env, PYTHONPATH: join(TEST_DATA, "python") } }));
    await give(readFileSync(plain), /no names/);
    await search.loadTinyModel();
    await search.state.filter({ hasText: "Nothing is indexed for" }).waitFor();
    await give(own, /was made with the model “shapes-and-colours · q8_0/);
    await search.state.filter({ hasText: "Nothing is indexed for" }).waitFor();
  });
});

describe("when the result changes beneath", () => {
  test("an open picture, it closes; another model's index is asked for the same picture", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.page.locator("#search-files").setInputFiles(files.slice(0, 9).map((file) => join(DRAWN, file)));
    await search.indexed(9);
    await search.loadTinyModel();
    await search.page.getByRole("button", { name: "Index 9 pictures for this model" }).click();
    await search.state.filter({ hasText: /^9 pictures indexed for (?!shapes)/ }).waitFor();
    const [first] = await search.search("a red circle");
    const item = search.hits.first();
    await item.getByRole("button", { name: /open$/ }).click();
    await search.page.getByRole("dialog").waitFor();
    await search.page.evaluate(() => /** @type {HTMLFormElement} */ (document.querySelector("#search-form")).requestSubmit());
    await search.page.getByRole("dialog").waitFor({ state: "hidden" });

    // Chosen but not loaded: what comes next loads it, and opens its index.
    await search.chooseOrigin("Menu");
    await item.getByRole("button", { name: /^Like this/ }).click();
    const found = await search.found(String(first?.name));
    assert.deepEqual(found[0], { name: first?.name, score: 1 });
    assert.match(String(await search.state.textContent()), new RegExp(`^9 pictures indexed for ${DEMO}`));
  });

  test("and the view is hidden, scrolling elsewhere is harmless", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.page.locator("#search-files").setInputFiles(files.slice(0, 9).map((file) => join(DRAWN, file)));
    await search.indexed(9);
    await search.search("a red circle");
    await search.page.getByRole("link", { name: "Embed and compare" }).click();
    await search.loadTinyModel();
    await search.page.evaluate(() => dispatchEvent(new Event("scroll")));
    await search.page.waitForTimeout(200);
    await search.page.getByRole("link", { name: "Search pictures" }).click();
    await search.state.filter({ hasText: /^Nothing is indexed for/ }).waitFor();
    assert.equal(await search.hits.count(), 0);
  });

  test("and its worker has died, the next search reads the vectors anew, and indexing goes on", async (t) => {
    const search = await SearchPage.open(site, t);
    await search.pauseAfter(5, () => search.choose(makeFolder(t)));
    const worker = search.page.workers().find((worker) => worker.url().endsWith("/vector-worker.js"));
    await worker?.evaluate(() => setTimeout(() => { throw new Error("out of memory"); }));
    await search.page.locator("#search-error").filter({ hasText: "worker_failed" }).waitFor();
    await search.page.getByRole("button", { name: "Resume" }).click();
    await search.indexed(60);
    assert.equal((await search.search("a red circle")).length, 60);
  });
});
