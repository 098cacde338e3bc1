// The package on another origin than the page, such as a CDN, from which its workers, its threads and its wasm modules
// are loaded.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FIXTURES, Site, TEST_DATA } from "../support/browser.mjs";
import { file, StaticServer } from "../support/server.mjs";
import { largestDifference } from "../support/vectors.mjs";
import { Installed, PACKAGE } from "../../node/installed.mjs";

const EXPECTED = /** @type {number[][]} */ (JSON.parse(readFileSync(join(TEST_DATA, "tiny-gelu.q8_0.json"), "utf8")).data);
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** @type {Site} */
let site;
/** @type {StaticServer} */
let own;
/** @type {StaticServer} */
let isolated;
/** @type {string[]} */
let files;

before(async () => {
  const installed = new Installed();
  files = installed.files;
  installed.remove();
  site = await Site.open();
  own = await new StaticServer(FIXTURES).start();
  isolated = await new StaticServer(FIXTURES, ISOLATION).start();
});
after(async () => {
  await site.close();
  await Promise.all([own.stop(), isolated.stop()]);
});

/**
 * An empty page of a server that loads the package from the hub, and embeds.
 * @param {import("node:test").TestContext} t
 * @param {StaticServer} server
 */
async function embed(t, server) {
  const { page } = await site.newPage(t);
  const blank = server.answer("/", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><link rel=icon href=data:,>"));
  await page.goto(blank);
  for (const path of files) site.hub.answer(`/npm/clip-wasm/${path}`, file(join(PACKAGE, path)));
  const { isolated, threads, vector } = await page.evaluate(
    async ({ cdn }) => {
      const { ClipEncoder } = await import(`${cdn}/npm/clip-wasm/clip.js`);
      const clip = await ClipEncoder.load(`${cdn}/tiny-gelu.q8_0.gguf`);
      const { data } = await clip.embedText(["a photo of a cat"]);
      clip.close();
      return { isolated: crossOriginIsolated, threads: clip.threads, vector: data[0] };
    },
    { cdn: site.hub.origin },
  );
  const difference = largestDifference(vector, EXPECTED[0] ?? []);
  assert.ok(difference <= 1e-5, `a component differs by ${difference} from the command line's`);
  assert.deepEqual(server.requests, ["/"], "nothing else is asked of the page's own origin");
  return { isolated, threads };
}

test("from a page that is not isolated", async (t) => {
  assert.deepEqual(await embed(t, own), { isolated: false, threads: 1 });
});

test("with threads, from a page that is isolated", async (t) => {
  assert.deepEqual(await embed(t, isolated), { isolated: true, threads: Math.min(availableParallelism(), 8) });
});
