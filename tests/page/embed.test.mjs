// Images and texts in, JSON out: what one does on the page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, shownCode, Site } from "./browser.mjs";
import { cosine, largestDifference, norm } from "./vectors.mjs";

const CAT = join(FIXTURES, "cat.png");
const CAT_AVIF = join(FIXTURES, "cat.avif");
const ROCKET = join(FIXTURES, "rocket.jpg");
const NOT_AN_IMAGE = { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("these are notes, not pixels") };

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

describe("inputs", () => {
  test("texts, one a line, blank lines aside", async (t) => {
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
    test(`images by ${kind}, the same vectors as from the picker`, async (t) => {
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

  test("an image is removed, and all are", async (t) => {
    const clip = await site.newPage(t);
    await clip.pickImages([CAT, ROCKET, CAT_AVIF]);
    await clip.page.getByRole("button", { name: "Remove rocket.jpg" }).click();
    assert.deepEqual(await clip.thumbnails.locator(".name").allTextContents(), ["cat.png", "cat.avif"]);
    await clip.page.getByRole("button", { name: "Remove all" }).click();
    assert.equal(await clip.thumbnails.count(), 0);
  });

  test("AVIF, which the browser decodes: near the same picture as PNG", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.pickImages([CAT, CAT_AVIF]);
    await clip.embed();
    const [png, avif] = (await clip.copied()).data;
    const similarity = cosine(png, avif);
    assert.ok(similarity > 0.995, `cosine of the AVIF's vector to the PNG's is ${similarity}`);
  });

  test("vectors are of unit length, unless the raw projection is asked for", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat");
    await clip.pickImages([CAT]);
    await clip.embed();
    const unit = (await clip.copied()).data;
    await clip.page.getByLabel("Scale vectors to unit length").uncheck();
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
  test("is whole when copied, downloaded, or selected by hand, and folded to read", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat\na photo of a dog");
    await clip.embed();
    const copied = await clip.copied();
    const dimensions = copied.data[0].length;

    const download = clip.page.waitForEvent("download");
    await clip.page.getByRole("button", { name: "Download .json" }).click();
    assert.equal((await download).suggestedFilename(), "embeddings.json");
    assert.deepEqual(JSON.parse(readFileSync(await (await download).path(), "utf8")), copied);

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

  test("stands beside the model's name and type, the dimensions and the time", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    assert.match(String(await clip.page.locator("#result-summary").textContent()), /^.+ · q8_0 · \d+ dimensions · [\d.]+ ms per input$/);
    assert.match(String(await clip.page.locator("#legend .time").textContent()), /^[\d.]+ ms$/);
  });
});

describe("bad inputs", () => {
  test("nothing at all", async (t) => {
    const clip = await site.newPage(t);
    await clip.embed();
    assert.equal(await shownCode(clip.runError), "empty_input");
  });

  test("a file that is no image has its error on its thumbnail, and the others their vectors", async (t) => {
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

  test("an image cut short", async (t) => {
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

  test("what went wrong is gone once it goes right", async (t) => {
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
