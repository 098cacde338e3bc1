// In every engine: a model loads from a URL, a disk or a checkpoint, and inputs give the right JSON.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Key } from "selenium-webdriver";
import { FIXTURES, PHOTOS, REPOSITORY, TEST_DATA } from "../support/browser.mjs";
import { cosine } from "../support/vectors.mjs";
import { assertClose, CAPTIONS, commandLine, FULL_SIZE, PICTURES, TINY, writtenVectors } from "./expected.mjs";

/** @import { Case, Visit } from "./visit.mjs" */

const THREADS = Math.min(availableParallelism(), 8);
/** Bytes of memory beside the weights: the module itself, and parts of the download. */
const ROOM = 32e6;
const SIGLIP = join(REPOSITORY, "tests/fixtures/siglip");
const PHOTO = join(PHOTOS, "rocket.jpg");
/** A module of one function, `(v128, v128, v128) -> v128`, that is one `f32x4.relaxed_madd`. */
const RELAXED_MADD = [
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, 0x03,
  0x02, 0x01, 0x00, 0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfd, 0x85, 0x02, 0x0b,
];
const expected = commandLine(TINY, { texts: CAPTIONS, images: PICTURES });

/** The page's vectors of the captions and the pictures. @param {Visit} visit */
async function vectors(visit) {
  await visit.fill("#texts", CAPTIONS.join("\n"));
  await visit.choose("#image-files", PICTURES);
  const { data, status_code } = await visit.embed();
  assert.equal(status_code, 200);
  return data;
}

/**
 * Embeds two texts and a picture with the API on the page, with a model from its URL, in so many rounds.
 * @param {Visit} visit
 * @param {{ threads?: number, rounds?: number }} [options]
 */
async function byApi(visit, { threads, rounds = 1 } = {}) {
  visit.own.requests.length = 0;
  /** @type {{ threads: number, vectors: number[][][] }} */
  const outcome = await visit.evaluate(
    async (url, threads, rounds, texts) => {
      const { ClipEncoder } = await window.clipApi();
      const vectors = [];
      let used = 0;
      for (let round = 0; round < rounds; round++) {
        const clip = await ClipEncoder.load(url, threads === null ? {} : { threads });
        used = clip.threads;
        vectors.push([...(await clip.embedText(texts)).data, ...(await clip.embedImage(["check/rocket.jpg"])).data]);
        clip.close();
      }
      return { threads: used, vectors };
    },
    `${visit.hub.origin}/${TINY}`,
    threads ?? null,
    rounds,
    CAPTIONS,
  );
  return { ...outcome, builds: visit.builds().filter((name) => name !== "pictures") };
}

/** The vectors of {@link byApi}. */
const expectedOfApi = expected.slice(0, 3);

/** @type {Case[]} */
export const EMBEDDING = [
  {
    name: "on the first visit a sample is embedded at once, and no permission is asked for",
    options: { samples: true },
    async run({ visit }) {
      await visit.says("#comparison .verdict", /./);
      await visit.settled();
      assert.match(await visit.ready(), /shapes-and-colours · q8_0/);
      const texts = await visit.texts("#comparison tbody th");
      assert.ok(texts.length > 1, "the sample has captions to tell apart");
      const { data } = await visit.json();
      const picture = data.at(-1);
      const shown = (await visit.texts("#comparison tbody td .cosine")).map((text) => Number(/-?[\d.]+/.exec(text)?.[0]));
      const own = data.slice(0, -1).map((/** @type {number[]} */ text) => cosine(text, picture));
      own.sort((/** @type {number} */ a, /** @type {number} */ b) => b - a);
      assert.deepEqual(shown, own.map((/** @type {number} */ value) => Number(value.toFixed(3))), "each cosine is that of the JSON's vectors");
      assert.equal(await visit.evaluate(() => window.permissionsAsked), 0);
    },
  },
  {
    name: "a model from its URL, texts and JPEG, PNG, WebP and GIF: the same vectors as the command line",
    async run({ visit, facts }) {
      await visit.loadTinyModel();
      const given = await vectors(visit);
      assertClose(given.slice(0, 4), writtenVectors());
      facts.difference = assertClose(given, expected);
      facts.vectors = given;
      assert.deepEqual(await visit.texts("#legend .name"), [...CAPTIONS.map((text) => `“${text}”`), ...PICTURES.map((path) => path.split("/").at(-1))]);
    },
  },
  {
    name: "a model from a file, without a server; a typed text is embedded by keyboard, and its JSON copied",
    async run({ visit }) {
      await visit.loadFiles([join(TEST_DATA, TINY)]);
      await visit.ready();
      await visit.type("#texts", "a photo of a cat");
      await (await visit.element("#texts")).sendKeys(Key.chord(Key.CONTROL, Key.ENTER));
      await visit.says("#legend", /a photo of a cat/);
      await visit.settled();
      assertClose((await visit.json()).data, expected.slice(0, 1));
      assert.deepEqual(visit.hub.requests, []);
      await visit.click("#copy");
      await visit.says("#copy", /^Copied$/);
      await (await visit.element("#texts")).clear();
      await (await visit.element("#texts")).sendKeys(Key.chord(Key.CONTROL, "v"));
      await visit.waitFor("the copied JSON is pasted", () => visit.evaluate(() => /** @type {HTMLTextAreaElement} */ (document.querySelector("#texts")).value.length > 100));
      const pasted = await visit.evaluate(() => /** @type {HTMLTextAreaElement} */ (document.querySelector("#texts")).value);
      assert.deepEqual(JSON.parse(pasted), await visit.json());
    },
  },
  {
    name: "AVIF, which the browser decodes, is close to the same picture as PNG",
    async run({ visit }) {
      await visit.loadTinyModel();
      await visit.choose("#image-files", [join(FIXTURES, "cat.png"), join(FIXTURES, "cat.avif")]);
      const [png, avif] = (await visit.embed()).data;
      assert.ok(cosine(png, avif) > 0.995, `cosine ${cosine(png, avif)}`);
    },
  },
  {
    name: "AVIF keeps its colours in transparent pixels, or is refused",
    async run({ visit, engine }) {
      await visit.loadTinyModel();
      await visit.choose("#image-files", [join(FIXTURES, "faint.png"), join(FIXTURES, "faint.avif")]);
      const { data } = await visit.embed();
      if (engine.name === "webkit" && data.length === 1) {
        // It has no WebGL without a GPU, and its frames mix up red and blue.
        assert.match(String(await visit.texts("#thumbnails .failed")), /unsupported_image/);
        return;
      }
      assert.ok(cosine(data[0], data[1]) > 0.999, `cosine ${cosine(data[0], data[1])}`);
    },
  },
  {
    name: "a drawing is embedded",
    async run({ visit }) {
      await visit.loadTinyModel();
      await visit.click("#draw");
      const before = await visit.texts("#legend .name");
      await visit.drag("#drawing-canvas", [{ x: -60, y: -60 }, { x: 60, y: 60 }, { x: -60, y: 60 }]);
      await visit.waitFor("the drawing is embedded", async () => (await visit.texts("#legend .name")).length > before.length);
    },
  },
  {
    name: "a checkpoint from a disk, and from its URL, is converted on the page to the same model",
    async run({ visit, engine }) {
      const folder = join(TEST_DATA, "tiny-hf");
      await visit.loadFiles(readdirSync(folder).map((name) => join(folder, name)));
      await visit.ready();
      assertClose(await vectors(visit), expected);
      await visit.revisit();
      await visit.loadUrl(`${visit.hub.origin}/tiny-hf/model.safetensors`);
      await visit.ready();
      assertClose(await vectors(visit), expected);
      const note = await visit.text("#model-note");
      if (engine.name === "webkit") assert.match(note, /not kept for the next visit: this browser has no file system/);
      else assert.equal(note, "");
    },
  },
  {
    name: "a SigLIP 2 from a disk has the vectors of transformers, of texts in any script",
    async run({ visit }) {
      const { texts, photos, vectors } = JSON.parse(readFileSync(join(SIGLIP, "expected.json"), "utf8"));
      const files = ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"];
      await visit.loadFiles(files.map((name) => join(SIGLIP, name)));
      await visit.ready();
      const chosen = [0, 4, 5];
      await visit.fill("#texts", chosen.map((at) => texts[at].text).join("\n"));
      await visit.choose("#image-files", photos.slice(0, 2).map((/** @type {string} */ name) => join(PHOTOS, name)));
      const { data } = await visit.embed();
      const wanted = [...chosen.map((at) => vectors.q8_0.texts[at]), ...vectors.q8_0.photos.slice(0, 2)];
      assert.equal(data.length, wanted.length);
      for (const [at, vector] of wanted.entries()) assert.ok(cosine(data[at], vector) > 0.998, `${at}: ${cosine(data[at], vector)}`);
    },
  },
  {
    name: "the first visit has one thread, and shares many images among further workers; the second has all threads",
    async run({ visit, engine }) {
      const first = await byApi(visit);
      assert.equal(first.threads, 1);
      assertClose(first.vectors.flat(), expectedOfApi);
      const many = await visit.evaluate(async (url) => {
        const { ClipEncoder } = await window.clipApi();
        const clip = await ClipEncoder.load(url);
        const { data } = await clip.embedImage(Array(24).fill("check/rocket.jpg"));
        clip.close();
        return data;
      }, `${visit.hub.origin}/${TINY}`);
      assertClose(many, Array(24).fill(expectedOfApi[2]));
      await visit.served();
      await visit.revisit();
      assert.equal(await visit.evaluate(() => crossOriginIsolated), true, "the service worker isolates the second visit");
      const second = await byApi(visit);
      assert.equal(second.threads, engine.name === "webkit" ? 1 : THREADS);
      assert.deepEqual(second.vectors, first.vectors);
    },
  },
  {
    name: "several encoders can be loaded at once on a page that its service worker isolates",
    async run({ visit }) {
      await visit.served();
      await visit.revisit();
      const vectors = await visit.evaluate(async (url, texts) => {
        const { ClipEncoder } = await window.clipApi();
        const clips = await Promise.all([1, 2, 3].map(() => ClipEncoder.load(url)));
        const vectors = await Promise.all(clips.map((clip) => clip.embedText(texts)));
        for (const clip of clips) clip.close();
        return vectors.map(({ data }) => data);
      }, `${visit.hub.origin}/${TINY}`, CAPTIONS);
      for (const given of vectors) assertClose(given, expectedOfApi.slice(0, 2));
    },
  },
  {
    name: "an isolated page has the engine's best build and all threads, and the same vectors as one thread",
    options: { isolated: true },
    async run({ visit, engine, facts }) {
      const can = await visit.evaluate((madd) => ({
        share: crossOriginIsolated && typeof SharedArrayBuffer === "function",
        relaxed: WebAssembly.validate(new Uint8Array(madd)),
      }), RELAXED_MADD);
      if (engine.name !== "webkit") assert.ok(can.share, `${engine.title} shares memory on isolated pages`);
      await visit.served(); // so that the service worker has already fetched the build that it stores
      const many = await byApi(visit);
      assert.equal(many.threads, can.share ? THREADS : 1);
      const build = can.relaxed ? "relaxed" : "simd128";
      assert.deepEqual(many.builds, [can.share && THREADS > 1 ? `${build}-threads` : build], "and no other build is fetched");
      const one = await byApi(visit, { threads: 1 });
      assert.deepEqual([one.threads, one.builds], [1, [build]]);
      assert.deepEqual(one.vectors, many.vectors);
      facts.build = many.builds[0];
      facts.threads = many.threads;
    },
  },
  {
    name: "loads and closes many times",
    options: { isolated: true },
    async run({ visit }) {
      const { vectors } = await byApi(visit, { rounds: 4 });
      for (const round of vectors) assert.deepEqual(round, vectors[0]);
      assertClose(vectors[0] ?? [], expectedOfApi);
    },
  },
  {
    name: "a full-size model from its URL, and from this device's storage",
    options: { isolated: true },
    timeout: 120_000,
    async run({ visit, engine, facts }) {
      const url = `${visit.hub.origin}/${FULL_SIZE}`;
      const before = engine.memory();
      const load = async () => {
        const start = performance.now();
        await visit.loadUrl(url);
        await visit.ready(90_000);
        return (performance.now() - start) / 1000;
      };
      facts.seconds = await load();
      facts.memory = engine.memory() - before;
      await visit.fill("#texts", CAPTIONS.join("\n"));
      await visit.choose("#image-files", [PHOTO]);
      assertClose((await visit.embed()).data, commandLine(FULL_SIZE, { texts: CAPTIONS, images: [PHOTO] }));
      await visit.waitFor("the whole model is kept", async () => /whole/.test(await visit.text("#kept-list")));
      visit.hub.requests.length = 0;
      await visit.revisit();
      facts.secondsKept = await load();
      assert.deepEqual(visit.hub.requests, []);
      const { memory, weights } = await visit.evaluate(async (url) => {
        const { ClipEncoder, deleteKeptModel } = await window.clipApi();
        await deleteKeptModel(url);
        const clip = await ClipEncoder.load(url, { keep: false, threads: 1 });
        clip.close();
        return clip.memory;
      }, url);
      assert.ok(memory <= weights + ROOM, `the module has ${memory} bytes after a download, ${weights} of them the weights`);
    },
  },
];
