// Checkpoints of which only one tower is wanted: its own bytes are fetched, and the other's can follow.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Site, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { apiPage, assertVectors, kept, keptFile, load, vectorsOf } from "../support/loads.mjs";
import { status } from "../support/server.mjs";
import { torchCheckpoint } from "../support/torch.mjs";

/** @import { Tower } from "../../../www/clip.js" */
/** @import { Vectors } from "../support/loads.mjs" */

const SOURCE = join(TEST_DATA, "tiny-hf/model.safetensors");
/** Bytes that are read beyond a tower's own: the header, and what lies between two tensors that are close to each other. */
const MORE = 3_000_000;

/** @type {Site} */
let site;
/** @type {Vectors} of the model that the native command line converts */
let right;
/** @type {string} */
let folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "clip-wasm-"));
  site = await Site.open();
  right = await vectorsOf(site, () => `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
});
after(async () => {
  rmSync(folder, { recursive: true });
  await site.close();
});

/** @param {Tower} tower */
function only(tower) {
  return tower === "text" ? { text: right.text, image: null } : { text: null, image: right.image };
}

/**
 * Bytes of a tower's tensors in the checkpoint.
 * @param {Tower} tower
 */
function bytesOf(tower) {
  const file = readFileSync(SOURCE);
  /** @type {Record<string, { data_offsets?: [number, number] }>} */
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))).toString());
  let bytes = 0;
  for (const [name, { data_offsets: [from, to] = [0, 0] }] of Object.entries(header)) {
    if (name.startsWith(tower === "vision" ? "vi" : "text")) bytes += to - from;
  }
  return bytes;
}

for (const [first, second] of /** @type {[Tower, Tower][]} */ ([["vision", "text"], ["text", "vision"]])) {
  test(`the ${first} tower of a checkpoint comes alone, needs no server later, and the other follows`, async (t) => {
    const page = await apiPage(site, t);
    const path = "/tiny-hf/model.safetensors";
    const url = site.hub.parts(path, SOURCE);
    const outcome = await load(page, url, { towers: [first] });
    assert.equal(outcome.code, null, outcome.message);
    assertVectors(outcome, only(first));
    const { loaded, total } = outcome.progress.at(-1) ?? { loaded: 0, total: null };
    assert.ok(loaded === total && loaded < bytesOf(first) + MORE, `${loaded} of ${total} bytes, where the tower has ${bytesOf(first)}`);
    const [model] = await kept(page);
    assert.deepEqual([model?.towers, model?.whole], [[first], false]);

    site.hub.answer(path, status(404));
    assertVectors(await load(page, url, { towers: [first] }), only(first));
    assert.equal((await load(page, url)).code, "http_status", "the other tower is not there");

    site.hub.parts(path, SOURCE);
    assertVectors(await load(page, url, { towers: [second] }), only(second));
    assert.deepEqual((await kept(page)).map(({ whole }) => whole), [true]);
    assert.equal(await keptFile(page), createHash("sha256").update(readFileSync(TINY_MODEL)).digest("hex"));
    for (const path of new Set(site.hub.requests)) site.hub.answer(path, status(404));
    assertVectors(await load(page, url), right);
  });
}

test("the other tower is added to an encoder, with and without a copy", async (t) => {
  const page = await apiPage(site, t);
  for (const keep of [true, false]) {
    const url = site.hub.parts("/tiny-hf/model.safetensors", SOURCE);
    const found = await page.evaluate(
      async ({ url, keep }) => {
        const clip = await window.ClipEncoder.load(url, { towers: ["vision"], keep });
        const before = await window.told(clip.embedText(["a dog"]));
        await clip.loadTowers(["text"]);
        const vectors = { text: (await clip.embedText(["a dog"])).data[0], image: (await clip.embedImage([window.cat])).data[0] };
        clip.close();
        return { before, vectors };
      },
      { url, keep },
    );
    assert.equal(found.before, "missing_tower: no text tower is loaded: load it too, or another model if this one has none");
    assert.deepEqual(found.vectors, right);
  }
});

for (const [name, path] of [
  ["tiny-hf-sharded", "model.safetensors.index.json"],
  ["tiny-open_clip", "open_clip_model.safetensors"],
]) {
  test(`one tower alone of ${name}`, async (t) => {
    const page = await apiPage(site, t);
    const url = `${site.hub.origin}/${name}/${path}`;
    const { code, message, text, image } = await load(page, url, { keep: false });
    assert.equal(code, null, message);
    assertVectors(await load(page, url, { towers: ["vision"] }), { text: null, image });
    assertVectors(await load(page, url, { towers: ["text"] }), { text, image: null });
    assertVectors(await load(page, url), { text, image });
  });
}

test("one tower alone of torch's file, and from a server without ranges", async (t) => {
  const page = await apiPage(site, t);
  const file = join(folder, "pytorch_model.bin");
  writeFileSync(file, torchCheckpoint(readFileSync(SOURCE)));
  const url = site.hub.parts("/tiny-hf/pytorch_model.bin", file);
  const outcome = await load(page, url, { towers: ["vision"], keep: false });
  assertVectors(outcome, only("vision"));
  const { loaded } = outcome.progress.at(-1) ?? { loaded: Infinity };
  assert.ok(loaded < bytesOf("vision") + MORE, `${loaded} bytes of ${statSync(file).size}`);
  site.hub.answer("/tiny-hf/pytorch_model.bin", (_request, response) => void response.end(readFileSync(file)));
  assertVectors(await load(page, url, { towers: ["vision"] }), only("vision"));
  assertVectors(await load(page, url, { towers: ["text"] }), only("text"));
  assertVectors(await load(page, url), right);
});

test("with the SHA-256 of its weights, all of it is read and kept, whatever is loaded", async (t) => {
  const page = await apiPage(site, t);
  const url = site.hub.parts("/tiny-hf/model.safetensors", SOURCE);
  const sha256 = createHash("sha256").update(readFileSync(SOURCE)).digest("hex");
  assertVectors(await load(page, url, { towers: ["vision"], sha256 }), only("vision"));
  assert.deepEqual((await kept(page)).map(({ whole, verified }) => [whole, verified]), [[true, true]]);
});
