// Several inputs of one call are computed together: in few messages, with the vectors of one by one, and with each error in
// its place.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CHROMIUM_FLAGS, Site } from "../support/browser.mjs";
import { pageWithEncoder } from "../support/loads.mjs";

/** @import { TestContext } from "node:test" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

/**
 * A page with eleven `images`, no two alike, which counts in `messages` the inputs of each.
 * @param {TestContext} t
 * @param {string} [model] by default the tiny one, which embeds an image sooner than the next one is read
 */
async function page(t, model) {
  const page = await pageWithEncoder(site, t);
  if (model) await page.evaluate(async (url) => void (window.clip = await window.ClipEncoder.load(url)), `${site.hub.origin}/${model}`);
  await page.evaluate(async () => {
    const bitmap = await createImageBitmap(new Blob([window.cat]));
    window.images = await Promise.all(
      Array.from({ length: 11 }, (_, i) => {
        const canvas = new OffscreenCanvas(64, 64);
        canvas.getContext("2d")?.drawImage(bitmap, -i, -2 * i);
        return canvas.convertToBlob();
      }),
    );
    window.messages = [];
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (/** @type {any} */ message, /** @type {any} */ options) {
      const inputs = message.params?.squares ?? message.params?.texts;
      if (inputs) window.messages.push(inputs.length);
      postMessage.call(this, message, options);
    };
  });
  return page;
}

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

test("images: in few messages, with the vectors of one by one, and progress for each", async (t) => {
  const tab = await page(t, "vit-b-32-gelu.q8_0.gguf");
  const { one, all, counts, progress } = await tab.evaluate(async () => {
    const { clip, images, messages } = window;
    const one = [];
    for (const image of images) one.push(...(await clip.embedImage([image])).data);
    messages.length = 0;
    /** @type {number[]} */
    const progress = [];
    const { data } = await clip.embedImage(images, { onProgress: ({ done }) => progress.push(done) });
    return { one, all: data, counts: messages, progress };
  });
  assert.equal(new Set(one.map(String)).size, 11);
  assert.deepEqual(all, one);
  assert.equal(sum(counts), 11);
  assert.ok(counts.length < 11 && counts.every((count) => count <= 4), String(counts));
  assert.deepEqual(progress, Array.from({ length: 11 }, (_, i) => i + 1));
});

test("images: one that cannot be read fails alone, wherever it stands", async (t) => {
  const tab = await page(t);
  const { want, got, thrown } = await tab.evaluate(async () => {
    const { clip, images, told } = window;
    const want = (await clip.embedImage(images)).data;
    const broken = new Blob(["no image"]);
    const mixed = [broken, ...images.slice(0, 4), broken, broken, ...images.slice(4), broken];
    /** @type {(string | number[])[]} */
    const got = [];
    for await (const outcome of clip.embedEach(mixed)) got[outcome.index] = "error" in outcome ? outcome.error.code : [...outcome.vector];
    return { want, got, thrown: await told(clip.embedImage(mixed.slice(1))) };
  });
  const failed = "unsupported_image";
  assert.deepEqual(got, [failed, ...want.slice(0, 4), failed, failed, ...want.slice(4), failed]);
  assert.match(String(thrown), /^unsupported_image: /);
});

test("texts: in few messages, with the vectors of one by one, short and long", async (t) => {
  const tab = await page(t);
  const { one, all, counts, progress } = await tab.evaluate(async () => {
    const { clip, messages } = window;
    const texts = Array.from({ length: 50 }, (_, i) => `${"a picture of a dog ".repeat(i % 7 === 0 ? 12 : 1)}${i}`).concat("");
    const one = [];
    for (const text of texts) one.push(...(await clip.embedText([text])).data);
    messages.length = 0;
    /** @type {number[]} */
    const progress = [];
    const { data } = await clip.embedText(texts, { onProgress: ({ done }) => progress.push(done) });
    return { one, all: data, counts: messages, progress };
  });
  assert.deepEqual(all, one);
  assert.equal(sum(counts), 51);
  assert.ok(counts.length >= 2 && counts.length <= 4 && counts.every((count) => count <= 32), String(counts));
  assert.deepEqual(progress, Array.from({ length: 51 }, (_, i) => i + 1));
});

test("a call beside a batch waits for the images that are computed together, not for the whole batch", async (t) => {
  const tab = await page(t);
  const order = await tab.evaluate(async () => {
    const { clip, images } = window;
    /** @type {string[]} */
    const order = [];
    const many = Array.from({ length: 20 }, () => images).flat();
    const batch = clip.embedImage(many, {
      onProgress: ({ done }) => {
        if (done === 1) clip.embedText(["a dog"]).then(() => order.push("text"));
      },
    });
    await batch.then(() => order.push("batch"));
    return order;
  });
  assert.deepEqual(order, ["text", "batch"]);
});
