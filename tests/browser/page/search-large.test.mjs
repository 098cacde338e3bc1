// Tens of thousands of pictures: they are searched at once, scrolled through, and the page answers meanwhile.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CHROMIUM_FLAGS, Site, TEST_DATA } from "../support/browser.mjs";
import { SearchPage } from "../support/search-page.mjs";
import { median } from "../support/vectors.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */

/** @type {Site} */
let site;
// With its optimising compilers: this is about time.
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

test("50,000 vectors are searched completely in a worker, in the right order", async (t) => {
  const { page } = await site.newPage(t);
  const { times, wrong } = await page.evaluate(async () => {
    const { Vectors } = await import("/page/search/vectors.js");
    const [rows, dimension] = [50_000, 512];
    let state = 1;
    const random = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5; // Lehmer's generator, so that a failure can be reproduced
    const unit = () => {
      const vector = Float32Array.from({ length: dimension }, random);
      const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
      return vector.map((value) => value / norm);
    };
    const all = new Float32Array(rows * dimension);
    for (let row = 0; row < rows; row++) all.set(unit(), row * dimension);
    const vectors = new Vectors(dimension, () => {});
    vectors.put(0, all);
    const times = [];
    const wrong = [];
    for (let query = 0; query < 15; query++) {
      const vector = unit();
      const { rows: ranked, scores, milliseconds } = await vectors.rank({ wanted: [vector], unwanted: [] });
      times.push(milliseconds);
      let before = Infinity;
      for (let place = 0; place < rows; place += query === 0 ? 1 : 997) {
        const row = Number(ranked[place]);
        const exact = vector.reduce((sum, value, i) => sum + value * Number(all[row * dimension + i]), 0);
        if (!(Math.abs(exact - Number(scores[row])) < 1e-6) || Number(scores[row]) > before) wrong.push(`query ${query}, place ${place}: ${scores[row]}, not ${exact}`);
        before = Number(scores[row]);
      }
      if (new Set(ranked).size !== rows) wrong.push(`query ${query} does not have each row once`);
    }
    vectors.close();
    return { times, wrong: wrong.slice(0, 10) };
  });
  t.diagnostic(`of 50,000 x 512: ${times.map((time) => time.toFixed(1)).join(", ")} ms`);
  assert.deepEqual(wrong, []);
  // Twice what it may take, because other programs run beside a test.
  assert.ok(median(times) < 100, `the median is ${median(times).toFixed(1)} ms`);
});

test("a result of 10,000 pictures scrolls, and only those near the window are in the document", async (t) => {
  const search = await SearchPage.open(site, t);
  await search.page.getByText("Take the index elsewhere").click();
  await search.page.locator("#index-import").setInputFiles(makeIndex(await markOf(search), 10_000));
  await search.page.locator("#index-state").filter({ hasText: "10,000 pictures imported" }).waitFor({ timeout: 60_000 });
  const found = await search.search("a red circle");
  assert.equal(found.length, 10_000);
  const items = async () => search.hits.evaluateAll((hits) => hits.map((hit) => Number(/** @type {HTMLElement} */ (hit).dataset.index)));
  assert.ok((await items()).length < 200, `${(await items()).length} items in the document`);
  for (const share of [0.5, 1, 0.2]) {
    await search.page.evaluate((share) => scrollTo({ top: share * document.documentElement.scrollHeight, behavior: "instant" }), share);
    await search.page.waitForFunction(() => {
      const hits = [...document.querySelectorAll("#search-hits > li")].map((hit) => hit.getBoundingClientRect());
      return hits.some(({ top, bottom }) => top >= 0 && bottom <= innerHeight);
    });
    const shown = await items();
    assert.ok(shown.length < 200, `${shown.length} items in the document`);
    assert.deepEqual(shown, shown.toSorted((a, b) => a - b), "in the order of the result");
    const names = await search.page.locator("#search-hits .name").allTextContents();
    for (const [index, place] of shown.entries()) assert.equal(names[index], found[place]?.name);
  }
  await search.reload();
  await search.indexed(/** @type {any} */ ("10,000"));
});

/** What the page writes into an index of the demo model. @param {ClipPage} clip */
function markOf({ page }) {
  return page.evaluate(async () => {
    const { markOf } = await import("/page/search/index-file.js");
    const { sha256 } = (await (await fetch("/models.json")).json())[0];
    return markOf({ key: sha256, name: "shapes-and-colours · q8_0" });
  });
}

/**
 * An index of pictures that do not exist.
 * @param {string} model
 * @param {number} count
 * @returns {string} the path of the file
 */
function makeIndex(model, count) {
  const [nameSize, modelSize, dimension] = [12, [...model].length, 128];
  const type = `[('folder', '<U1'), ('name', '<U${nameSize}'), ('size', '<i8'), ('modified', '<i8'), ('model', '<U${modelSize}'), ('vector', '<f4', (${dimension},))]`;
  const about = `{'descr': ${type}, 'fortran_order': False, 'shape': (${count},), }`;
  const length = Math.ceil((about.length + 11) / 64) * 64;
  const header = Buffer.from(`\x93NUMPY\x01\x00..${about.padEnd(length - 11)}\n`, "latin1");
  header.writeUInt16LE(length - 10, 8);
  const stride = 4 * (1 + nameSize + modelSize + dimension) + 16;
  const records = Buffer.alloc(count * stride);
  const put = (/** @type {number} */ at, /** @type {string} */ text) => [...text].forEach((character, index) => records.writeUInt32LE(character.codePointAt(0) ?? 0, at + 4 * index));
  let state = 1;
  for (let row = 0; row < count; row++) {
    const at = row * stride;
    put(at, "f");
    put(at + 4, `${row}.png`);
    records.writeBigInt64LE(BigInt(row), at + 4 + 4 * nameSize);
    put(at + 20 + 4 * nameSize, model);
    const vector = Array.from({ length: dimension }, () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5);
    const norm = Math.hypot(...vector);
    vector.forEach((value, i) => records.writeFloatLE(value / norm, at + 20 + 4 * (nameSize + modelSize + i)));
  }
  const path = join(TEST_DATA, "large-index.npy");
  writeFileSync(path, Buffer.concat([header, records]));
  return path;
}
