// Many images: shared between several workers, or embedded one by one.

import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { after, before, describe, test } from "node:test";
import { modelWorkers, Site } from "../support/browser.mjs";
import { pageWithEncoder } from "../support/loads.mjs";
import { status } from "../support/server.mjs";

/** @import { TestContext } from "node:test" */
/** @import { EmbedOptions, ImageSource } from "../../../www/clip.js" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

describe("a batch of images on a page without threads", () => {
  /** A page with 24 `images`, each cropped differently, so that no two have the same vector. @param {TestContext} t */
  async function pageWithImages(t) {
    const page = await pageWithEncoder(site, t);
    await page.evaluate(async () => {
      const bitmap = await createImageBitmap(new Blob([window.cat]));
      window.images = await Promise.all(
        Array.from({ length: 24 }, (_, i) => {
          const canvas = new OffscreenCanvas(64, 64);
          canvas.getContext("2d")?.drawImage(bitmap, -i, -2 * i);
          return canvas.convertToBlob();
        }),
      );
    });
    return page;
  }

  test("is shared with other workers, in input order", async (t) => {
    const page = await pageWithImages(t);
    const [one, all, again] = await page.evaluate(async () => {
      const { clip, images } = window;
      const one = [];
      for (const image of images) one.push(...(await clip.embedImage([image])).data);
      const all = (await clip.embedImage(Array.from({ length: 40 }, () => images).flat())).data;
      return /** @type {const} */ ([one, all, (await clip.embedImage(images)).data]);
    });
    assert.equal(new Set(one.map(String)).size, 24);
    assert.deepEqual(all, Array.from({ length: 40 }, () => one).flat());
    assert.deepEqual(again, one);
    assert.equal(modelWorkers(page).length, 1 + Math.min(availableParallelism() - 1, 3));
    assert.equal(site.hub.requests.length, 1, "they read what the first has kept");
  });

  test("of few images, or with threads: 1, does not load the model again", async (t) => {
    const page = await pageWithImages(t);
    await page.evaluate(async (url) => {
      const { ClipEncoder, clip, images } = window;
      await clip.embedImage(images.slice(0, 15));
      const single = await ClipEncoder.load(url, { threads: 1 });
      await single.embedImage(images);
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.equal(modelWorkers(page).length, 2);
  });

  test("fails with the error of the first input that fails, and the next call works", async (t) => {
    const page = await pageWithImages(t);
    const [codes, count] = await page.evaluate(async () => {
      const { clip, codeOf, images } = window;
      /** @type {ImageSource[]} */
      const many = Array.from({ length: 20 }, () => images).flat();
      many[100] = new Blob(["no image"]);
      many[101] = "/images/missing.png";
      const codes = [];
      for (let round = 0; round < 3; round++) codes.push(await codeOf(clip.embedImage(many)));
      return [codes, (await clip.embedImage(images)).data.length];
    });
    assert.deepEqual([codes, count], [["unsupported_image", "unsupported_image", "unsupported_image"], 24]);
  });

  test("goes on without a helper that cannot load, and ends with close", async (t) => {
    const page = await pageWithImages(t);
    site.hub.answer("/tiny-gelu.q8_0.gguf", status(503));
    const [count, code] = await page.evaluate(async () => {
      const { clip, codeOf, images } = window;
      const many = Array.from({ length: 20 }, () => images).flat();
      const { data } = await clip.embedImage(many);
      const waiting = codeOf(clip.embedImage(many));
      setTimeout(() => clip.close(), 20);
      return [data.length, await waiting];
    });
    assert.deepEqual([count, code], [480, "closed"]);
  });
});

describe("images one by one", () => {
  /** A page with twenty `images`, each with its own URL, two of which fail; `each` lists the results. @param {TestContext} t */
  async function pageWithEach(t) {
    const page = await pageWithEncoder(site, t);
    await page.evaluate(() => {
      window.images = Array.from({ length: 20 }, (_, i) => `/images/cat.png?${i}`);
      window.images[3] = new Blob(["no image"]);
      window.images[7] = "/images/missing.png";
      window.each = async (images, options) => {
        const outcomes = [];
        for await (const outcome of window.clip.embedEach(images, options)) outcomes.push(outcome);
        return outcomes;
      };
    });
    return page;
  }

  test("gives the same vectors as embedImage, and an error for each image that fails", async (t) => {
    const page = await pageWithEach(t);
    const { outcomes, cat, raw } = await page.evaluate(async () => {
      const { ClipError, clip, each, images } = window;
      const outcomes = (await each(images)).map((outcome) => {
        if ("error" in outcome) return { index: outcome.index, code: outcome.error.code, isClipError: outcome.error instanceof ClipError };
        return { index: outcome.index, vector: [...outcome.vector], isClipError: false };
      });
      const cat = async (/** @type {EmbedOptions} */ options = {}) => (await clip.embedImage(["/images/cat.png"], options)).data[0];
      const [first] = await each(["/images/cat.png"], { normalize: false });
      return { outcomes, cat: await cat(), raw: [first && "vector" in first && [...first.vector], await cat({ normalize: false })] };
    });
    outcomes.sort((a, b) => a.index - b.index);
    assert.deepEqual(outcomes.map(({ index }) => index), Array.from({ length: 20 }, (_, i) => i));
    const codes = new Map([[3, "unsupported_image"], [7, "http_status"]]);
    for (const { index, vector, code, isClipError } of outcomes) {
      assert.equal(code, codes.get(index), `image ${index}`);
      assert.equal(isClipError, codes.has(index), `image ${index}`);
      assert.deepEqual(vector, codes.has(index) ? undefined : cat, `image ${index}`);
    }
    assert.deepEqual(raw[0], raw[1]);
  });

  test("reads only a few images ahead, and no more when the caller stops", async (t) => {
    const page = await pageWithEncoder(site, t);
    const fetched = () => site.own.requests.filter((path) => path === "/images/cat.png").length;
    await page.evaluate(async () => {
      const images = Array.from({ length: 200 }, (_, i) => `/images/cat.png?${i}`);
      window.taking = window.clip.embedEach(images);
      await window.taking.next();
      await new Promise((resolve) => setTimeout(resolve, 1500));
    });
    const ahead = fetched();
    assert.ok(ahead >= 2 && ahead <= 20, `${ahead} images were fetched for the one that was taken`);
    const vectors = await page.evaluate(async () => {
      await window.taking.return();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return (await window.clip.embedImage(["/images/cat.png"])).data.length;
    });
    assert.equal(vectors, 1);
    assert.equal(fetched(), ahead + 1, "beside the last one");
  });

  test("ends with an error that every image would have", async (t) => {
    const page = await pageWithEach(t);
    const codes = await page.evaluate(async (url) => {
      const { ClipEncoder, clip, codeOf, each, images } = window;
      const text = await ClipEncoder.load(url, { towers: ["text"] });
      const abort = new AbortController();
      const aborted = codeOf((async () => {
        for await (const _ of clip.embedEach(images, { signal: abort.signal })) abort.abort();
      })());
      const codes = [await aborted, await codeOf(each(images)), await codeOf(text.embedEach(images).next())];
      codes.push(await codeOf(each([])), await codeOf(each(["a", /** @type {any} */ (7)])));
      const closed = codeOf((async () => {
        for await (const _ of clip.embedEach(images)) clip.close();
      })());
      return [...codes, await closed];
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.deepEqual(codes, ["aborted", "no error", "missing_tower", "empty_input", "invalid_input", "closed"]);
  });
});
