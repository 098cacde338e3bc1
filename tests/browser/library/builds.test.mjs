// The builds of the module: each browser gets the best one that it can run, and all give the same vectors.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CHROMIUM_FLAGS, PHOTOS, REPOSITORY, Site } from "../support/browser.mjs";
import { status } from "../support/server.mjs";

/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

/**
 * @param {Page} page
 * @param {string} model
 * @returns {Promise<{ build: string | undefined, vectors: number[][] }>}
 */
async function embed(page, model) {
  site.own.requests.length = 0;
  const { vectors, device } = await page.evaluate(
    async ({ url, photo }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load(url);
      const bytes = Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0));
      const texts = await clip.embedText(["a photo of a cat", "two blue squares on grass ".repeat(20)]);
      const images = await clip.embedImage([bytes]);
      clip.close();
      return { vectors: [...texts.data, ...images.data], device: { ...clip.device } };
    },
    { url: `${site.hub.origin}/${model}`, photo: readFileSync(join(PHOTOS, "coffee.png"), "base64") },
  );
  const build = site.own.requests.find((path) => /^\/pkg\/(?!pictures).+\.wasm$/.test(path))?.split("/").at(-2);
  assert.equal(device.name, "wasm");
  assert.equal(site.own.requests.some((path) => path === `/pkg/${device.build}/clip_wasm_bg.wasm`), true, device.build);
  const choices = device.build.startsWith("relaxed") ? ["i16 pairs", "signed bytes", "unsigned bytes"] : ["i16 pairs"];
  assert.ok(choices.includes(device.products), device.products);
  return { build, vectors };
}

for (const type of ["q4_0", "q5_1", "q8_0"]) {
  test(`${type} with relaxed SIMD and without, at full size`, { timeout: 120_000 }, async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    page.setDefaultTimeout(100_000);
    const relaxed = await embed(page, `vit-b-32-gelu.${type}.gguf`);
    assert.equal(relaxed.build, "relaxed");

    const source = readFileSync(join(REPOSITORY, "www/pkg/workers/model-worker.js"), "utf8");
    const lacking = source.replace("WebAssembly.validate(RELAXED_DOT)", "false");
    assert.notEqual(lacking, source);
    site.own.answer("/pkg/workers/model-worker.js", (_request, response) => {
      response.writeHead(200, { "content-type": "text/javascript", "cache-control": "no-store" }).end(lacking);
    });
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
    await page.reload();
    const plain = await embed(page, `vit-b-32-gelu.${type}.gguf`);
    // Isolated by the service worker, the page has threads: they do not change a bit either.
    assert.equal(plain.build, "simd128-threads");
    assert.deepEqual(plain.vectors, relaxed.vectors);
  });
}

test("a build that the site lacks is replaced by the next, with the same vectors", async (t) => {
  const { page } = await site.newPageWithServiceWorker(t);
  const best = await embed(page, "tiny-gelu.q8_0.gguf");
  assert.equal(best.build, "relaxed");
  for (const file of ["clip_wasm.js", "clip_wasm_bg.wasm"]) site.own.answer(`/pkg/relaxed/${file}`, status(404));
  site.own.requests.length = 0;
  const { vectors } = await embed(page, "tiny-gelu.q8_0.gguf");
  assert.deepEqual(vectors, best.vectors);
  assert.ok(site.own.requests.includes("/pkg/simd128/clip_wasm_bg.wasm"));
});
