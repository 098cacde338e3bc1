// onTimings: where the time of each input goes, of images and texts, alone and in batches, with workers and in place.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CHROMIUM_FLAGS, FIXTURES, Site } from "../support/browser.mjs";
import { openApi, pageWithEncoder } from "../support/loads.mjs";

/** @import { Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */
/** @import { ImageTimings, TextTimings } from "../../../www/clip.js" */

/** Milliseconds by which clocks that tick every 0.1 ms can be wrong in a sum of five times. */
const TICKS = 1;
/** Not the tiny model, whose towers can take less than a tick: a full-size one, and one for many images. */
const MODEL = "vit-b-32-gelu.q8_0.gguf";
const DEMO_MODEL = "demo/demo.q8_0.gguf";

/** @type {Site} */
let site;
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

/**
 * @param {ImageTimings | TextTimings} timings
 * @param {string[]} stages
 */
function assertSound(timings, stages) {
  const times = stages.map((stage) => Number(/** @type {any} */ (timings)[stage]));
  const message = JSON.stringify(timings);
  for (const time of [...times, timings.total]) assert.ok(Number.isFinite(time) && time >= 0, message);
  const sum = times.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - timings.total) <= TICKS, `the stages are ${sum} ms: ${message}`);
  assert.ok(timings.tower > 0, message);
  assert.ok(Number.isInteger(timings.batch) && timings.batch >= 1, message);
}

const assertImage = (/** @type {ImageTimings} */ timings) => assertSound(timings, ["read", "decode", "resize", "tower", "waiting"]);
const assertText = (/** @type {TextTimings} */ timings) => assertSound(timings, ["tower", "waiting"]);

/**
 * A page whose `images` are photos of noise in JPEG, of so many pixels a side.
 * @param {TestContext} t
 * @param {number[]} sides
 * @param {string} [model]
 */
async function pageWithPhotos(t, sides, model = MODEL) {
  const page = await pageWithEncoder(site, t, model);
  await page.evaluate(async (sides) => {
    window.images = await Promise.all(
      sides.map((side) => {
        const canvas = new OffscreenCanvas(side, side);
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
        const pixels = context.createImageData(side, side);
        for (let at = 0; at < pixels.data.length; at++) pixels.data[at] = at % 4 === 3 ? 255 : (at * 2654435761) >>> 24;
        context.putImageData(pixels, 0, 0);
        return canvas.convertToBlob({ type: "image/jpeg" });
      }),
    );
  }, sides);
  return page;
}

/**
 * The timings of a call with the page's `images`.
 * @param {Page} page
 * @returns {Promise<ImageTimings[]>}
 */
function imageTimings(page) {
  return page.evaluate(async () => {
    /** @type {ImageTimings[]} */
    const told = [];
    await window.clip.embedImage(window.images, { onTimings: (timings) => void told.push(timings) });
    return told;
  });
}

describe("images", () => {
  test("a large photo takes longer to decode than a small one, and the stages add up", async (t) => {
    const page = await pageWithPhotos(t, [64]);
    const small = [];
    for (let round = 0; round < 3; round++) small.push(...(await imageTimings(page)));
    const large = await imageTimings(await pageWithPhotos(t, [2000]));
    for (const timings of [...small, ...large]) {
      assertImage(timings);
      assert.deepEqual([timings.index, timings.batch, timings.decoder], [0, 1, "wasm"]);
    }
    assert.ok(Number(large[0]?.decode) > Math.max(...small.slice(1).map(({ decode }) => decode)), JSON.stringify({ small, large }));
    assert.ok(Number(large[0]?.resize) > 0, JSON.stringify(large));
  });

  test("a file is fetched, pixels are copied, and AVIF is decoded by the browser", async (t) => {
    const page = await pageWithEncoder(site, t, MODEL);
    site.own.answer("/cat.avif", (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.avif"))));
    const told = await page.evaluate(async () => {
      /** @type {ImageTimings[]} */
      const told = [];
      const images = ["/images/cat.png", new ImageData(300, 200), await createImageBitmap(new ImageData(30, 20)), "/cat.avif"];
      await window.clip.embedImage(images, { onTimings: (timings) => void told.push(timings) });
      return told;
    });
    for (const timings of told) assertImage(timings);
    assert.deepEqual(told.map(({ index, decoder }) => [index, decoder]).sort(), [[0, "wasm"], [1, null], [2, null], [3, "browser"]]);
    const byIndex = new Map(told.map((timings) => [timings.index, timings]));
    for (const fetched of [0, 3]) assert.ok(Number(byIndex.get(fetched)?.read) > 0);
    assert.ok(Number(byIndex.get(3)?.decode) > 0);
  });

  test("a batch: each image once, except those that fail; the tower's time is that of the batch", async (t) => {
    const page = await pageWithPhotos(t, Array(11).fill(40));
    const { told, yielded, plain } = await page.evaluate(async () => {
      const { clip, images } = window;
      /** @type {ImageTimings[]} */
      const told = [];
      /** @type {Record<number, number[] | string>} */
      const yielded = {};
      const mixed = [...images.slice(0, 5), new Blob(["no image"]), ...images.slice(5)];
      for await (const outcome of clip.embedEach(mixed, { onTimings: (timings) => void told.push(timings) })) {
        yielded[outcome.index] = "error" in outcome ? outcome.error.code : [...outcome.vector];
        if (!("error" in outcome) && told.at(-1)?.index !== outcome.index) throw new Error("timings come before their vector");
      }
      return { told, yielded, plain: (await clip.embedImage(images)).data };
    });
    for (const timings of told) assertImage(timings);
    assert.deepEqual(told.map(({ index }) => index).sort((a, b) => a - b), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
    assert.ok(told.some(({ batch }) => batch > 1), JSON.stringify(told));
    assert.ok(told.every(({ batch }) => batch <= 4));
    for (const { tower, batch } of told) {
      const together = told.filter((other) => other.tower === tower).length;
      assert.ok(together >= batch, `${batch} images share ${tower} ms, but only ${together} say so`);
    }
    assert.deepEqual(Object.values(yielded), [...plain.slice(0, 5), "unsupported_image", ...plain.slice(5)], "vectors are the same");
  });

  test("shared among more workers: each once", async (t) => {
    const page = await pageWithPhotos(t, Array(40).fill(40), DEMO_MODEL);
    const told = await imageTimings(page);
    for (const timings of told) assertImage(timings);
    assert.deepEqual(told.map(({ index }) => index).sort((a, b) => a - b), Array.from({ length: 40 }, (_, index) => index));
  });

  test("what the function throws fails the call, as with onProgress", async (t) => {
    const page = await pageWithEncoder(site, t);
    const codes = await page.evaluate(async () => {
      const { clip, cat, told } = window;
      const onTimings = () => {
        throw new Error("no, thanks");
      };
      const each = async () => {
        for await (const _ of clip.embedEach([cat], { onTimings })) return;
      };
      return Promise.all([told(clip.embedImage([cat], { onTimings })), told(clip.embedText(["a"], { onTimings })), told(each())]);
    });
    for (const code of codes) assert.match(String(code), /no, thanks$/);
  });
});

test("texts: the time of those that are computed together", async (t) => {
  const page = await pageWithEncoder(site, t, MODEL);
  const told = await page.evaluate(async () => {
    /** @type {TextTimings[]} */
    const told = [];
    const texts = Array.from({ length: 40 }, (_, i) => `a picture of ${i} dogs`);
    await window.clip.embedText(texts, { onTimings: (timings) => void told.push(timings) });
    return told;
  });
  for (const timings of told) assertText(timings);
  assert.deepEqual(told.map(({ index }) => index), Array.from({ length: 40 }, (_, index) => index));
  assert.deepEqual(told.map(({ batch }) => batch), [...Array(32).fill(32), ...Array(8).fill(8)]);
});

test("no worker is asked for them, or reports them, unless the caller wants them", async (t) => {
  const page = await pageWithPhotos(t, [64, 64]);
  const counts = await page.evaluate(async () => {
    const { clip, images } = window;
    let [asked, reported] = [0, 0];
    /** @type {WeakSet<Worker>} */
    const watched = new WeakSet();
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (/** @type {any} */ message, /** @type {any} */ options) {
      if ("timed" in message) asked++;
      if (!watched.has(this)) this.addEventListener("message", ({ data }) => "times" in data && reported++);
      watched.add(this);
      postMessage.call(this, message, options);
    };
    const embed = async (/** @type {object} */ options) => {
      await clip.embedImage(images, options);
      await clip.embedText(["a"], options);
      return [asked, reported];
    };
    return { without: await embed({ onProgress() {} }), wanted: await embed({ onTimings() {} }) };
  });
  assert.deepEqual(counts.without, [0, 0]);
  const [asked, reported] = counts.wanted;
  assert.ok(Number(asked) >= 4, String(asked));
  assert.equal(reported, asked);
});

test("in place, without workers", async (t) => {
  const page = await site.emptyPage(t);
  await openApi(page, "/in-place.js");
  const told = await page.evaluate(async (model) => {
    const { ClipEncoder, cat } = window;
    const clip = await ClipEncoder.load(model, { worker: false });
    /** @type {ImageTimings[]} */
    const images = [];
    /** @type {TextTimings[]} */
    const texts = [];
    await clip.embedImage([cat, cat], { onTimings: (timings) => void images.push(timings) });
    await clip.embedText(["a", "b"], { onTimings: (timings) => void texts.push(timings) });
    clip.close();
    return { images, texts };
  }, `${site.hub.origin}/${MODEL}`);
  for (const timings of told.images) assertImage(timings);
  for (const timings of told.texts) assertText(timings);
  for (const timings of [told.images, told.texts]) assert.deepEqual(timings.map(({ index, batch }) => [index, batch]), [[0, 1], [1, 1]]);
  assert.deepEqual(page.workers(), []);
});
