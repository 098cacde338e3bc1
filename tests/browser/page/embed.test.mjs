// The Embed view: images and texts in, JSON out.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, shownCode, Site, TEST_DATA } from "../support/browser.mjs";
import { cosine, largestDifference, norm } from "../support/vectors.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */

const CAT = join(FIXTURES, "cat.png");
const CAT_AVIF = join(FIXTURES, "cat.avif");
const ROCKET = join(FIXTURES, "rocket.jpg");
const NOT_AN_IMAGE = { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("these are notes, not pixels") };

/** Reads the files with Python's own readers and NumPy. */
const READERS = `
import csv, json, sys
import numpy
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
rows = list(csv.reader(open(sys.argv[2], encoding="utf-8", newline="")))
array = numpy.load(sys.argv[3])
print(json.dumps({
    "lines": lines,
    "csv": {"head": rows[0], "inputs": [row[:2] for row in rows[1:]], "vectors": [[float(x) for x in row[2:]] for row in rows[1:]]},
    "npy": {"shape": array.shape, "type": str(array.dtype), "vectors": array.tolist()},
}))
`;

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * Downloads the result.
 * @param {ClipPage} clip
 * @param {string} format as in the menu
 */
async function download(clip, format) {
  await clip.page.getByLabel("Format of the file").selectOption(format);
  const download = clip.page.waitForEvent("download");
  await clip.page.getByRole("button", { name: "Download" }).click();
  return { name: (await download).suggestedFilename(), path: await (await download).path() };
}

describe("inputs", () => {
  test("texts, one per line, without blank lines", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat\n\n  a photo of a dog  \n");
    await clip.embed();
    const { data, status_code } = await clip.copied();
    assert.equal(status_code, 200);
    assert.equal(data.length, 2);
    assert.notDeepEqual(data[0], data[1]);
    assert.deepEqual(await clip.legend(), ["“a photo of a cat”", "“a photo of a dog”"]);
  });

  test("images from the picker, several at once, after the texts", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([CAT, ROCKET]);
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    assert.deepEqual(await clip.legend(), ["“a photo of a cat”", "cat.png", "rocket.jpg"]);
    assert.equal((await clip.copied()).data.length, 3);
  });

  for (const kind of /** @type {const} */ (["drop", "paste"])) {
    test(`images by ${kind}, with the same vectors as from the picker`, async (t) => {
      const clip = await site.newPage(t);
      await clip.loadTinyModel();
      await clip.pickImages([CAT, ROCKET]);
      const files = [{ name: "first.png", path: CAT }, { name: "second.jpg", path: ROCKET }];
      await clip.giveFiles(kind, kind === "drop" ? "h1" : "#texts", files);
      await clip.embed();
      const { data } = await clip.copied();
      assert.deepEqual(await clip.legend(), ["cat.png", "rocket.jpg", "first.png", "second.jpg"]);
      assert.deepEqual(data[2], data[0]);
      assert.deepEqual(data[3], data[1]);
    });
  }

  test("text pasted into the text field stays text", async (t) => {
    const clip = await site.newPage(t);
    await clip.page.evaluate(() => navigator.clipboard.writeText("a pasted line"));
    await clip.texts.focus();
    await clip.page.keyboard.press("Control+V");
    assert.equal(await clip.texts.inputValue(), "a pasted line");
    assert.equal(await clip.thumbnails.count(), 0);
  });

  test("one image is removed, and all are", async (t) => {
    const clip = await site.newPage(t);
    await clip.pickImages([CAT, ROCKET, CAT_AVIF]);
    await clip.page.getByRole("button", { name: "Remove rocket.jpg" }).click();
    assert.deepEqual(await clip.thumbnails.locator(".name").allTextContents(), ["cat.png", "cat.avif"]);
    await clip.page.getByRole("button", { name: "Remove all" }).click();
    assert.equal(await clip.thumbnails.count(), 0);
  });

  test("AVIF, which the browser decodes: close to the same picture as PNG", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([CAT, CAT_AVIF]);
    await clip.embed();
    const [png, avif] = (await clip.copied()).data;
    const similarity = cosine(png, avif);
    assert.ok(similarity > 0.995, `cosine of the AVIF's vector to the PNG's is ${similarity}`);
  });

  test("AVIF keeps its colours in transparent pixels", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([join(FIXTURES, "faint.png"), join(FIXTURES, "faint.avif")]);
    await clip.embed();
    const [png, avif] = (await clip.copied()).data;
    const similarity = cosine(png, avif);
    assert.ok(similarity > 0.999, `cosine of the AVIF's vector to the PNG's is ${similarity}`);
  });

  test("vectors have unit length, unless the raw projection is chosen", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat");
    await clip.pickImages([CAT]);
    await clip.embed();
    const unit = (await clip.copied()).data;
    await clip.page.getByLabel("Unit length").uncheck();
    await clip.embed();
    const raw = (await clip.copied()).data;
    for (const [index, vector] of unit.entries()) {
      assert.ok(Math.abs(norm(vector) - 1) < 1e-5, `vector ${index} has length ${norm(vector)}`);
      const scaled = raw[index].map((/** @type {number} */ value) => value / norm(raw[index]));
      assert.ok(Math.abs(norm(raw[index]) - 1) > 1e-3, `raw vector ${index} has length ${norm(raw[index])}`);
      assert.ok(largestDifference(scaled, vector) < 1e-6, `vector ${index} differs from its raw one by ${largestDifference(scaled, vector)}`);
    }
  });
});

describe("the JSON", () => {
  test("is complete when copied, downloaded or selected by hand, and folded on the page", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat\na photo of a dog");
    await clip.embed();
    const copied = await clip.copied();
    const dimensions = copied.data[0].length;

    const { name, path } = await download(clip, "JSON (.json)");
    assert.equal(name, "embeddings.json");
    assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), copied);

    const folds = clip.page.locator("#json .fold");
    assert.deepEqual(await folds.allTextContents(), Array(2).fill(`… ${dimensions - 4} more …`));
    await clip.page.evaluate(() => {
      getSelection()?.selectAllChildren(/** @type {Element} */ (document.querySelector("#json")));
      document.execCommand("copy");
    });
    assert.deepEqual(JSON.parse(await clip.page.evaluate(() => navigator.clipboard.readText())), copied);

    await folds.first().click();
    await folds.first().click();
    assert.deepEqual(JSON.parse(String(await clip.page.locator("#json").textContent())), copied);
  });

  test("is also JSON Lines, CSV and NumPy, as their own readers read them", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    const texts = ['a "quoted" text, with a comma', "=1+1", "naïve café"];
    await clip.texts.fill(texts.join("\n"));
    await clip.pickImages([CAT]);
    await clip.embed();
    const { data } = await clip.copied();
    const paths = [];
    for (const format of ["JSON Lines (.jsonl)", "CSV (.csv)", "NumPy (.npy)"]) paths.push((await download(clip, format)).path);
    const read = JSON.parse(execFileSync("python3", ["-c", READERS, ...paths], { encoding: "utf8", env: { ...process.env, PYTHONPATH: join(TEST_DATA, "python") } }));
    const inputs = [...texts.map((text) => ["text", text]), ["image", "cat.png"]];
    assert.deepEqual(read.lines, inputs.map(([kind, input], index) => ({ [String(kind)]: input, embedding: data[index] })));
    assert.deepEqual(read.csv.head, ["kind", "input", ...Array(data[0].length).keys()].map(String));
    assert.deepEqual(read.csv.inputs, inputs);
    assert.deepEqual(read.csv.vectors, data);
    assert.deepEqual([read.npy.shape, read.npy.type], [[4, data[0].length], "float32"]);
    assert.deepEqual(read.npy.vectors, data, "f32 all the way");
  });

  test("is shown with each vector's strip and norm", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.page.getByLabel("Unit length").uncheck();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    const [vector] = (await clip.copied()).data;
    assert.equal(await clip.page.locator("#legend .norm").textContent(), `norm ${norm(vector).toFixed(3)}`);
    const strip = clip.page.locator("#legend .strip");
    const largest = vector.reduce((/** @type {number} */ best, /** @type {number} */ value, /** @type {number} */ i) => (Math.abs(value) > Math.abs(vector[best]) ? i : best), 0);
    assert.equal(await strip.getAttribute("aria-label"), `${vector.length} components; the largest is number ${largest}, ${vector[largest].toFixed(3)}`);
    const painted = await strip.evaluate((canvas) => {
      const { width, height } = /** @type {HTMLCanvasElement} */ (canvas);
      const { data } = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (canvas).getContext("2d")).getImageData(0, 0, width, height);
      const inked = (/** @type {number} */ x, /** @type {number} */ y) => Number(data[4 * (y * width + x) + 3]) > 0;
      return Array.from({ length: width }, (_, x) => [inked(x, height / 2 - 1), inked(x, height / 2)]);
    });
    const large = vector.flatMap((/** @type {number} */ value, /** @type {number} */ i) => (Math.abs(value) > 0.05 * Math.abs(vector[largest]) ? [i] : []));
    for (const i of large) assert.deepEqual(painted[i], [vector[i] > 0, vector[i] < 0], `component ${i} is ${vector[i]}`);
  });

  test("is shown with the model's name and type, the dimensions and the time", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    assert.match(String(await clip.page.locator("#result-summary").textContent()), /^.+ · q8_0 · \d+ dimensions · [\d.]+ ms per input on 1 thread$/);
    assert.match(String(await clip.page.locator("#legend .time").textContent()), /^[\d.]+ ms$/);
  });
});

describe("bad inputs", () => {
  test("nothing at all", async (t) => {
    const clip = await site.newPage(t);
    await clip.embed();
    assert.equal(await shownCode(clip.runError), "empty_input");
  });

  test("a file that is not an image shows its error on its thumbnail, and the others have vectors", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([CAT]);
    await clip.pickImages(NOT_AN_IMAGE);
    await clip.pickImages([ROCKET]);
    await clip.embed();
    const failed = clip.thumbnails.filter({ hasText: "notes.png" });
    assert.equal(await shownCode(failed.getByRole("alert")), "unsupported_image");
    assert.equal(await clip.thumbnails.getByRole("alert").count(), 1);
    assert.deepEqual(await clip.legend(), ["cat.png", "rocket.jpg"]);
    assert.equal((await clip.copied()).data.length, 2);
    assert.match(String(await clip.page.locator("#result-summary").textContent()), /1 failed and is left out/);
  });

  test("a truncated image", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages({ name: "cut.png", mimeType: "image/png", buffer: readFileSync(CAT).subarray(0, 1000) });
    await clip.embed();
    assert.equal(await shownCode(clip.thumbnails.getByRole("alert")), "corrupt_image");
  });

  test("when every input fails, the JSON is the error", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages(NOT_AN_IMAGE);
    await clip.embed();
    const { error, status_code } = await clip.copied();
    assert.equal(error.code, "unsupported_image");
    assert.equal(typeof error.message, "string");
    assert.equal(status_code, 415);
  });

  test("an error disappears when the input works", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages(NOT_AN_IMAGE);
    await clip.embed();
    await clip.page.getByRole("button", { name: "Remove notes.png" }).click();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    assert.equal(await clip.page.getByRole("alert").count(), 0);
    assert.equal((await clip.copied()).status_code, 200);
  });
});
