// The page embeds eight photos and their captions with a full-size ViT-B/32 in 8 bits. The vectors are compared with
// those of Hugging Face transformers in f32, and of the native command line.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CHROMIUM_FLAGS, PHOTOS, REPOSITORY, Site, TEST_DATA } from "../support/browser.mjs";
import { readTensors } from "../support/safetensors.mjs";
import { cosine, largestDifference, median } from "../support/vectors.mjs";

const MODEL = "vit-b-32-gelu.q8_0.gguf";
const EXPECTED = join(REPOSITORY, "tests/fixtures/towers");
const COMMAND_LINE = process.env.CLIP_WASM ?? join(REPOSITORY, "target/release/clip-wasm");

/** @type {{ images: string[], texts: string[] }} */
const inputs = JSON.parse(readFileSync(join(EXPECTED, "inputs.json"), "utf8"));
const captions = inputs.texts.slice(0, inputs.images.length);
const photos = inputs.images.map((name) => {
  const committed = join(PHOTOS, name);
  return existsSync(committed) ? committed : join(TEST_DATA, "photos", name);
});
const labels = [...captions, ...inputs.images];

/** @type {Site} */
let site;
/** @type {number[][]} the page's vectors: one for each caption, then one for each photo */
let vectors;

before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

test("the page embeds them all", { timeout: 240_000 }, async (t) => {
  const clip = await site.newPage(t);
  clip.page.setDefaultTimeout(180_000);
  await clip.loadUrl(`${site.hub.origin}/${MODEL}`);
  await clip.ready();
  await clip.texts.fill(captions.join("\n"));
  await clip.pickImages(photos);
  await clip.embed();
  const { data, status_code } = await clip.copied();
  assert.equal(status_code, 200);
  assert.equal(data.length, labels.length);
  for (const [index, vector] of data.entries()) assert.equal(vector.length, 512, labels[index]);
  t.diagnostic(String(await clip.page.locator("#result-summary").textContent()));
  vectors = data;
});

test("near transformers in f32", (t) => {
  const expected = readTensors(join(EXPECTED, "vit-b-32.safetensors"));
  const wanted = [...expected("gelu.f32.text").slice(0, captions.length), ...expected("gelu.f32.image")];
  assert.equal(wanted.length, vectors.length);
  const cosines = vectors.map((vector, index) => cosine(vector, wanted[index] ?? []));
  const [middle, least] = [median(cosines), Math.min(...cosines)];
  const worst = labels[cosines.indexOf(least)];
  t.diagnostic(`cosine to transformers: median ${middle}, least ${least} (${worst})`);
  assert.ok(middle >= 0.9993, `the median cosine is ${middle}`);
  assert.ok(least >= 0.998, `the least cosine is ${least}, for ${worst}`);
});

test("equal to the command line's", { timeout: 120_000 }, (t) => {
  if (!existsSync(COMMAND_LINE)) throw new Error(`${COMMAND_LINE} is missing: run cargo build --release --features hub`);
  const given = [...captions.flatMap((text) => ["--text", text]), ...photos.flatMap((path) => ["--image", path])];
  const printed = execFileSync(COMMAND_LINE, ["embed", "--model", join(TEST_DATA, MODEL), ...given], { encoding: "utf8" });
  const { data } = JSON.parse(printed);
  assert.equal(data.length, vectors.length);
  const differences = vectors.map((vector, index) => largestDifference(vector, data[index]));
  const largest = Math.max(...differences);
  const worst = labels[differences.indexOf(largest)];
  t.diagnostic(`largest difference to the command line in any component: ${largest} (${worst})`);
  assert.ok(largest <= 1e-5, `a component differs by ${largest}, for ${worst}`);
});
