// A small SigLIP 2 as the Hub has it: converted in the browser, with the vectors and the probabilities of transformers.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PHOTOS, REPOSITORY, Site } from "../support/browser.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { ClipEncoder } from "../../../www/clip.js" */
/** @import { Page } from "playwright-core" */

const FOLDER = join(REPOSITORY, "tests/fixtures/siglip");
/** @type {{ texts: { text: string, ids: number[] }[], photos: string[], vectors: Record<string, { texts: number[][], photos: number[][] }>, logitsPerImage: number[][] }} */
const EXPECTED = JSON.parse(readFileSync(join(FOLDER, "expected.json"), "utf8"));
const TEXTS = EXPECTED.texts.map(({ text }) => text);

/** @type {Site} */
let site;
/** @type {Page} */
let page;
/** @type {(() => unknown)[]} */
const ends = [];
before(async () => {
  site = await Site.open();
  page = await site.emptyPage({ after: (/** @type {any} */ end) => void ends.push(end) });
  for (const file of readdirSync(FOLDER)) {
    site.own.answer(`/siglip/${file}`, (_request, response) => {
      response.writeHead(200).end(readFileSync(join(FOLDER, file)));
    });
  }
});
after(async () => {
  for (const end of ends) await end();
  await site.close();
});

const photos = EXPECTED.photos.map((name) => readFileSync(join(PHOTOS, name), "base64"));

/**
 * Loads the checkpoint, and runs a function with it.
 * @template T
 * @template {object} P
 * @param {"f32" | "q8_0"} type
 * @param {(clip: ClipEncoder, params: P & { photos: Uint8Array[] }) => Promise<T>} use
 * @param {P} params
 * @returns {Promise<T>}
 */
async function withModel(type, use, params) {
  return page.evaluate(
    async ({ type, use, params, photos }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load("/siglip/model.safetensors", { type, keep: false });
      const images = photos.map((photo) => Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0)));
      try {
        return await new Function(`return (${use})`)()(clip, { .../** @type {object} */ (params), photos: images });
      } finally {
        clip.close();
      }
    },
    { type, use: String(use), params, photos },
  );
}

for (const [type, least] of /** @type {["f32" | "q8_0", number][]} */ ([["f32", 0.99999], ["q8_0", 0.998]])) {
  test(`ids and vectors of ${type} are those of transformers`, async () => {
    const { ids, texts, images, info } = await withModel(
      type,
      async (clip, { TEXTS, photos }) => ({
        ids: (await clip.tokenize(TEXTS)).map(({ ids }) => ids),
        texts: (await clip.embedText(TEXTS)).data,
        images: (await clip.embedImage(photos)).data,
        info: clip.info,
      }),
      { TEXTS },
    );
    assert.deepEqual(ids, EXPECTED.texts.map(({ ids }) => ids));
    const wanted = EXPECTED.vectors[type];
    for (const [got, want] of [[texts, wanted?.texts], [images, wanted?.photos]]) {
      const cosines = (got ?? []).map((vector, i) => cosine(vector, /** @type {number[]} */ (want?.[i])));
      assert.equal(cosines.length, want?.length);
      assert.ok(Math.min(...cosines) >= least, String(cosines));
    }
    assert.equal(info.family, "siglip");
    assert.equal(info.logitBias, -5);
    assert.ok(Math.abs(info.logitScale - 119.25) < 0.1, String(info.logitScale));
    assert.equal(info.preprocessing?.resize, "squash");
  });
}

describe("classify", () => {
  test("says of each label by itself whether it fits", async () => {
    const found = await withModel(
      "f32",
      async (clip, { TEXTS, photos }) => clip.classify(photos, TEXTS, { template: null }),
      { TEXTS },
    );
    assert.equal(found.length, EXPECTED.photos.length);
    for (const [i, labels] of found.entries()) {
      for (const { label, probability } of labels) {
        const logit = Number(EXPECTED.logitsPerImage[i]?.[TEXTS.indexOf(label)]);
        const wanted = 1 / (1 + Math.exp(-logit));
        assert.ok(Math.abs(probability - wanted) < 0.01, `${label}: ${probability} for ${wanted}`);
      }
    }
  });
});

test("one tower alone", async () => {
  const { towers, contextLength, vector } = await page.evaluate(async (photo) => {
    const { ClipEncoder } = await import("/clip.js");
    const clip = await ClipEncoder.load("/siglip/model.safetensors", { type: "f32", towers: ["vision"], keep: false });
    const image = Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0));
    const [vector] = (await clip.embedImage([image])).data;
    const { towers, contextLength } = clip.info;
    clip.close();
    return { towers, contextLength, vector };
  }, photos[0] ?? "");
  assert.deepEqual([towers, contextLength], [["vision"], null]);
  assert.ok(cosine(/** @type {number[]} */ (vector), /** @type {number[]} */ (EXPECTED.vectors.f32?.photos[0])) >= 0.99999);
});
