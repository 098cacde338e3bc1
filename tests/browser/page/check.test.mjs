// The Check view: published cosines beside this device's, with differences marked.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CHROMIUM_FLAGS, PHOTOS, shownCode, Site } from "../support/browser.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

/** @param {string} name */
const reference = (name) => JSON.parse(readFileSync(join(PHOTOS, name), "utf8"));

/** @param {ClipPage} clip */
async function check({ page }) {
  await page.getByRole("link", { name: "Check" }).click();
  await page.getByRole("button", { name: "Run the check" }).click();
  await page.locator("#check-result table").waitFor({ timeout: 60_000 });
  return {
    verdict: String(await page.locator("#check-result .note").textContent()),
    cells: await page.locator("#check-result tbody tr").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td")].map((cell) => String(cell.textContent).split(" ").map(Number)))),
    wrong: await page.locator("#check-result .differs").count(),
  };
}

test("the built-in model gives the same cosines as transformers", async (t) => {
  const clip = await site.newPage(t);
  const { verdict, cells, wrong } = await check(clip);
  assert.match(verdict, /^This device and this file give the cosines of the demo model as transformers computes it: of 72, none differs by more than 0\.0\d+/);
  assert.match(verdict, /The best caption is the same for 6 of 6 pictures\./);
  assert.equal(wrong, 0);
  const { cosine: published } = reference("similarity.demo.json");
  assert.deepEqual(cells.map((row) => row.map(([, there]) => there)), published.map((/** @type {number[]} */ row) => row.map((value) => Number(value.toFixed(3)))));
});

test("another model is not mistaken for OpenAI's, and its own cosines are shown", async (t) => {
  const clip = await site.newPage(t);
  await clip.loadTinyModel();
  const { verdict, cells } = await check(clip);
  assert.match(verdict, /^These are not the cosines of OpenAI's ViT-B\/32, as published: \d+ of 48 differ by more than 0\.02, the farthest by \d\.\d{3}\./);
  assert.match(verdict, /It is another model \(.*activation gelu instead of quick_gelu/);
  assert.match(verdict, /2 of the published 8 pictures are not on this site/);
  const { texts, prefix, images } = reference("similarity.openai-vit-b-32.json");
  const here = images.filter((/** @type {string} */ name) => !["page.png", "motorcycle_right.png"].includes(name));
  await clip.page.getByRole("link", { name: "Embed and compare" }).click();
  await clip.texts.fill(texts.map((/** @type {string} */ text) => prefix + text).join("\n"));
  await clip.pickImages(here.map((/** @type {string} */ name) => join(PHOTOS, name)));
  await clip.embed();
  const { data } = await clip.copied();
  const wanted = data.slice(0, 8).map((/** @type {number[]} */ text) => data.slice(8).map((/** @type {number[]} */ image) => Number(cosine(text, image).toFixed(3))));
  assert.deepEqual(cells.map((row) => row.map(([own]) => own)), wanted);
});

test("a picture that cannot be fetched is reported, and the check can run again", async (t) => {
  const clip = await site.newPage(t);
  site.own.answer("/check/similarity.demo.json", (_request, response) => void response.writeHead(500).end());
  await clip.page.getByRole("link", { name: "Check" }).click();
  await clip.page.getByRole("button", { name: "Run the check" }).click();
  assert.equal(await shownCode(clip.page.locator("#check-error .error")), "http_status");
  site.own.reset();
  await clip.page.getByRole("button", { name: "Run the check" }).click();
  await clip.page.locator("#check-result table").waitFor();
  assert.equal(await clip.page.locator("#check-error .error").count(), 0);
});
