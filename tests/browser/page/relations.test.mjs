// What the page makes of inputs without counterparts: one picture, many pictures, texts; and languages.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, REPOSITORY, Site } from "../support/browser.mjs";
import { DRAWN } from "../support/search-page.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */

const SAMPLES = readdirSync(join(REPOSITORY, "www/samples"));

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {ClipPage} clip */
const verdict = (clip) => clip.page.locator("#comparison .verdict");

/**
 * The API's vectors with the demo model.
 * @param {ClipPage} clip
 * @param {string[]} paths of images on the page's server
 * @returns {Promise<number[][]>}
 */
function vectorsOf(clip, paths) {
  return clip.page.evaluate(async (paths) => {
    const { ClipEncoder } = await import("/clip.js");
    const encoder = await ClipEncoder.load("/models/demo.gguf");
    const { data } = await encoder.embedImage(paths.map((path) => new URL(path, location.href).href));
    encoder.close();
    return data;
  }, paths);
}

describe("one picture", () => {
  test("without a text shows the samples, the nearest first, and a hint", async (t) => {
    const clip = await site.visit(t);
    await verdict(clip).filter({ hasText: "fits hearts.png best" }).waitFor();
    await clip.settled();
    await clip.texts.fill("");
    await clip.embed();
    await verdict(clip).filter({ hasText: "the vector of hearts.png" }).waitFor();
    const items = clip.page.locator("#comparison ol li");
    await items.locator(".score").filter({ hasText: /\d/ }).first().waitFor();
    const shown = await items.evaluateAll((items) => items.map((item) => [item.querySelector(".name")?.textContent, Number(item.querySelector(".score")?.textContent)]));
    const others = SAMPLES.filter((name) => name !== "hearts.png");
    const [own = [], ...vectors] = await vectorsOf(clip, ["hearts.png", ...others].map((name) => `samples/${name}`));
    const expected = others.map((name, index) => [name, Number(cosine(own, vectors[index] ?? []).toFixed(3))]);
    assert.deepEqual(shown, expected.sort((a, b) => Number(b[1]) - Number(a[1])));
    await clip.page.getByText("Add texts, one per line").waitFor();
    assert.equal((await clip.copied()).data.length, 1);
  });

  test("without samples is its vector", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([join(FIXTURES, "cat.png")]);
    await clip.embed();
    assert.equal(await verdict(clip).textContent(), "This is the vector of cat.png.");
  });
});

describe("many pictures", () => {
  test("are grouped by what is alike", async (t) => {
    const clip = await site.newPage(t);
    // Two kinds of drawings, each several times: colours far apart, of the same shape.
    const files = ["shapes-0-000", "shapes-0-001", "shapes-0-002"].map((name) => join(DRAWN, `${name}.png`));
    const copies = files.flatMap((file) => [file, file, file]);
    await clip.pickImages(copies.slice(0, 8));
    await clip.embed();
    await verdict(clip).filter({ hasText: "What is alike." }).waitFor();
    const groups = await clip.page.locator("#comparison .group").evaluateAll((groups) =>
      groups.map((group) => [...group.querySelectorAll(".name")].map((name) => name.textContent)),
    );
    const names = files.map((file) => file.split("/").pop());
    assert.deepEqual(groups, [Array(3).fill(names[0]), Array(3).fill(names[1]), Array(2).fill(names[2])]);
    assert.match(String(await clip.page.locator("#comparison h3").first().textContent()), /^3 pictures, cosine 1\.000 on average$/);
  });

  test("of which there are two have a cosine", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
    await clip.embed();
    const { data } = await clip.copied();
    assert.equal(await verdict(clip).textContent(), `The cosine of the two pictures is ${cosine(data[0], data[1]).toFixed(3)}.`);
  });
});

describe("texts", () => {
  test("without a picture have a matrix of their cosines", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a cat\na dog\nthree red hearts");
    await clip.embed();
    const { data } = await clip.copied();
    const rows = await clip.page.locator("#comparison tbody tr").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td")].map((cell) => Number.parseFloat(cell.textContent ?? "") || null)));
    const expected = data.map((/** @type {number[]} */ row, /** @type {number} */ i) => data.map((/** @type {number[]} */ column, /** @type {number} */ j) => (i === j ? null : Number(cosine(row, column).toFixed(3)))));
    assert.deepEqual(rows, expected);
    assert.equal(await clip.page.locator("#comparison td strong").count(), 3, "the nearest of each row");
  });

  test("too many for a table are said to be", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill(Array.from({ length: 50 }, (_, index) => `text ${index}`).join("\n"));
    await clip.embed();
    await clip.page.getByText("too many inputs for a table").waitFor();
  });
});

test("a model of English texts says so, and warns of letters of other languages", async (t) => {
  const clip = await site.newPage(t);
  const hint = clip.page.locator("#texts-hint");
  const warning = clip.page.locator("#texts-language");
  assert.equal(await hint.textContent(), "one per line");
  await clip.loadTinyModel();
  assert.equal(await hint.textContent(), "one per line, in English");
  await clip.modelFacts.filter({ hasText: / · English$/ }).waitFor();
  await clip.texts.fill("ein Hündchen, naïve");
  assert.equal(await warning.isVisible(), false);
  await clip.texts.fill("кошка");
  assert.equal(await warning.isVisible(), true);
  await clip.texts.fill("a cat 3 € — ☂");
  assert.equal(await warning.isVisible(), false);
});
