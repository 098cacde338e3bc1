// Long runs: many inputs with one encoder, many encoders one after the other, a page that stays open. Nothing grows.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { record } from "../../reliability/record.mjs";
import { CHROMIUM_FLAGS, FIXTURES, modelWorkers, PHOTOS, REPOSITORY, Site, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { apiPage, script } from "../support/loads.mjs";
import { runPlain } from "../support/plain.mjs";
import { megabytes, Processes, trend } from "../support/processes.mjs";
import { cutConnection, StaticServer } from "../support/server.mjs";
import { median } from "../support/vectors.mjs";

/** @import { Embeddings, Progress } from "../../../www/clip.js" */

/** Inputs of the soak test; `./build.sh soak` has more. */
const USUAL = 1000;
const INPUTS = Number(process.env.CLIP_SOAK ?? USUAL);
/** Inputs of a pass; memory is measured after each pass. One input in ten is bad. */
const PASS = 100;
/** Pictures in every format that the module reads, one that the browser decodes, and of several sizes. */
const IMAGES = ["adobe_deflate.tiff", "animated.gif", "animated.webp", "baseline_420.jpg", "cmyk_adobe.jpg", "exif.webp", "grey16.png", "grey8.bmp", "orientation_6.jpg"]
  .map((name) => join(REPOSITORY, "tests/fixtures/images", name))
  .concat(join(FIXTURES, "cat.avif"))
  .concat(["rocket.jpg", "chelsea.png", "horse.png"].map((name) => join(PHOTOS, name)));
const MODEL = "/m.gguf";

/** @type {Site} */
let site;
before(async () => (site = await Site.open(CHROMIUM_FLAGS)));
after(() => site.close());

/** Makes the memory of a worker's module available to this test. */
function watched() {
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (/** @type {any} */ module, /** @type {WebAssembly.Imports | undefined} */ imports) => {
    /** @type {any} */
    const made = await instantiate(module, imports);
    self.made = [(made.instance ?? made).exports.memory];
    return made;
  };
}

test(`${INPUTS} inputs through one encoder, one in ten of them bad`, { timeout: 120_000 + INPUTS * 60 }, async (t) => {
  const page = await apiPage(site, t, script(watched));
  page.setDefaultTimeout(0);
  const processes = await Processes.of(page);
  await page.evaluate(
    async ({ images, url, PASS }) => {
      const clip = await window.ClipEncoder.load(url, { threads: 1 });
      const bytes = (/** @type {string} */ base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const pictures = images.map(bytes);
      const picture = (/** @type {number} */ i) => /** @type {Uint8Array<ArrayBuffer>} */ (pictures[i % pictures.length]);
      const canvas = new OffscreenCanvas(4000, 3000);
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
      for (let i = 0; i < 300; i++) {
        context.fillStyle = `hsl(${i * 47} 70% ${30 + (i % 5) * 10}%)`;
        context.fillRect((i * 977) % 4000, (i * 613) % 3000, 500, 300);
      }
      const large = await canvas.convertToBlob({ type: "image/jpeg" });
      const cut = picture(3).slice(0, picture(3).length / 2);
      // The header of a PNG of 60,000 x 60,000 pixels.
      const endless = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 8, 2, 0, 0, 0, 0, 0, 0, 0]);
      const aborted = async (/** @type {(signal: AbortSignal) => Promise<Embeddings>} */ call) => {
        const abort = new AbortController();
        const outcome = call(abort.signal);
        abort.abort();
        return outcome;
      };
      /** @type {(() => Promise<Embeddings>)[]} */
      const bad = [
        () => clip.embedImage([cut]),
        () => clip.embedImage([new Blob(["these are notes"])]),
        () => clip.embedText([/** @type {any} */ (42)]),
        () => clip.embedText([]),
        () => clip.embedImage([/** @type {any} */ (null)]),
        () => clip.embedImage([endless]),
        () => aborted((signal) => clip.embedText(["a text that is not waited for"], { signal })),
        () => aborted((signal) => clip.embedImage([picture(0)], { signal })),
        () => clip.embedImage(["/nothing.png"]),
        () => clip.embedImage([picture(1)], { alpha: /** @type {any} */ ("grey") }),
      ];
      const good = (/** @type {number} */ i) => {
        if (i === 51) return clip.embedImage([large]);
        if (i % 2 === 0) return clip.embedText([`a photo of ${i} things, ${"and more ".repeat(i % 60)}`]);
        return i % 4 === 1 ? clip.embedImage([picture(i)]) : clip.embedImage([new Blob([picture(i)])]);
      };
      /** The results of the first pass: a code, or the bits of a vector. @type {string[]} */
      const first = [];
      window.pass = async () => {
        const wrong = [];
        for (let i = 0; i < PASS; i++) {
          const call = (i % 10 === 9 && bad[Math.floor(i / 10)]) || (() => good(i));
          const outcome = await call().then(
            ({ data }) => new Uint8Array(Float32Array.from(data[0] ?? []).buffer).toString(),
            ({ code }) => `code ${code}`,
          );
          if (outcome.startsWith("code") !== (i % 10 === 9)) wrong.push(`input ${i} gives ${outcome.slice(0, 60)}`);
          if ((first[i] ??= outcome) !== outcome) wrong.push(`input ${i} gives another vector than at first`);
        }
        return wrong;
      };
      window.codes = () => first.filter((outcome) => outcome.startsWith("code"));
    },
    { images: IMAGES.map((path) => readFileSync(path, "base64")), url: site.hub.parts(MODEL, TINY_MODEL), PASS },
  );

  const passes = INPUTS / PASS;
  const measured = { wasm: /** @type {number[]} */ ([]), page: /** @type {number[]} */ ([]), worker: /** @type {number[]} */ ([]), resident: /** @type {number[]} */ ([]) };
  for (let pass = 0; pass < passes; pass++) {
    assert.deepEqual(await page.evaluate(() => window.pass()), [], `pass ${pass}`);
    measured.wasm.push(Number(await modelWorkers(page)[0]?.evaluate(() => self.made[0]?.buffer.byteLength)));
    measured.page.push(await processes.pageHeap());
    measured.worker.push(await processes.workerHeaps());
    measured.resident.push(await processes.resident());
  }
  assert.deepEqual(await page.evaluate(() => window.codes()), ["corrupt_image", "unsupported_image", "invalid_input", "empty_input", "invalid_input", "image_too_large", "aborted", "aborted", "http_status", "invalid_input"].map((code) => `code ${code}`));

  const warm = Math.floor(passes / 4);
  const outcomes = [];
  for (const [name, values, most] of /** @type {[string, number[], { rise: number, range: number }][]} */ ([
    ["wasm memory", measured.wasm, { rise: 0, range: 0 }],
    ["the page's JavaScript", measured.page, { rise: 0.5e6, range: 1e6 }],
    ["the worker's JavaScript", measured.worker, { rise: 0.5e6, range: 1e6 }],
    ["resident memory", measured.resident, { rise: 8e6, range: 24e6 }],
  ])) {
    const settled = values.slice(warm);
    const { rise, range } = trend(settled);
    const some = values.filter((_, i) => i % Math.ceil(passes / 20) === 0);
    t.diagnostic(`${name}: ${some.map(megabytes).join(", ")}; rise ${megabytes(rise)}, range ${megabytes(range)}`);
    assert.ok(rise <= most.rise, `${name} rises by ${megabytes(rise)} from warm-up to end: ${values.map(megabytes).join(", ")}`);
    assert.ok(range <= most.range, `${name} differs by ${megabytes(range)}: ${values.map(megabytes).join(", ")}`);
    outcomes.push(`${name} ${megabytes(Number(settled[0]))} after warm-up and ${megabytes(Number(settled.at(-1)))} at the end (trend ${rise < 0 ? "" : "+"}${megabytes(rise)})`);
  }
  record({
    section: "life",
    what: `inputs through one encoder in Chromium${INPUTS === USUAL ? "" : ", at length"}`,
    tried: `${INPUTS.toLocaleString("en")} texts and images of seven formats up to 12 megapixels, ${(INPUTS / 10).toLocaleString("en")} of them bad`,
    outcome: `vectors equal to the first pass's to the last bit; ${outcomes.join("; ")}`,
  });
});

describe("loaded and closed", () => {
  for (const { name, path, rounds } of [
    { name: "the tiny model", path: TINY_MODEL, rounds: 50 },
    { name: "ViT-B/32", path: join(TEST_DATA, "vit-b-32-gelu.q8_0.gguf"), rounds: 10 },
  ]) {
    test(`${rounds} times, ${name}: nothing grows and nothing is left over`, { timeout: 300_000 }, async (t) => {
      const server = await new StaticServer(join(REPOSITORY, "www")).start();
      t.after(() => server.stop());
      server.parts(MODEL, path);
      server.answer("/cut.gguf", cutConnection(TINY_MODEL, 30_000));
      /** @type {{ all: number, heap: number, locks: number, files: number }[]} */
      const measured = [];
      /** @type {string[]} */
      const codes = [];
      const run = async (/** @type {{ isTiny: boolean, rounds: number, MODEL: string }} */ { isTiny, rounds, MODEL }) => {
        const { ClipEncoder } = await import("/clip.js");
        const codeOf = (/** @type {Promise<unknown>} */ load) =>
          load.then(
            () => "loaded",
            ({ code }) => code,
          );
        /** @type {(folder: FileSystemDirectoryHandle) => Promise<number>} */
        const count = async (folder) => {
          let files = 0;
          for await (const entry of folder.values()) files += 1 + (entry instanceof FileSystemDirectoryHandle ? await count(entry) : 0);
          return files;
        };
        for (let round = 0; round < rounds; round++) {
          /** @type {string[]} */
          const codes = [];
          if (isTiny && round % 10 === 3) {
            codes.push(await codeOf(ClipEncoder.load("/missing.gguf")), await codeOf(ClipEncoder.load("/cut.gguf", { keep: false, idleTimeout: 200 })));
            codes.push(await codeOf(ClipEncoder.load(new Blob(["no model"]))));
          }
          if (isTiny && round % 5 === 1) {
            const abort = new AbortController();
            const onProgress = (/** @type {Progress} */ { loaded }) => void (loaded > 1_000_000 && abort.abort());
            codes.push(await codeOf(ClipEncoder.load(MODEL, { keep: false, signal: abort.signal, onProgress })));
          }
          const clip = await ClipEncoder.load(MODEL);
          const { data } = await clip.embedText(["a dog"]);
          clip.close();
          for (let tries = 0; tries < 500 && Number((await navigator.locks.query()).held?.length) > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
          window.gc();
          const { held = [], pending = [] } = await navigator.locks.query();
          const files = (await count(await navigator.storage.getDirectory())) + (await caches.keys()).length;
          const heap = /** @type {any} */ (performance).memory.usedJSHeapSize;
          await window.tell({ codes, length: data[0]?.length, heap, locks: held.length + pending.length, files });
        }
      };
      const source = script(run, { isTiny: path === TINY_MODEL, rounds, MODEL });
      await runPlain(server, `await ${source}`, async (told, memory) => {
        assert.equal(told.length, path === TINY_MODEL ? 64 : 512);
        codes.push(...told.codes);
        measured.push({ ...told, all: memory() });
      });
      assert.equal(measured.length, rounds);
      const all = measured.map(({ all }) => all);
      t.diagnostic(`all processes: ${all.map(megabytes).join(", ")}`);
      t.diagnostic(`the page's JavaScript: ${measured.map(({ heap }) => megabytes(heap)).join(", ")}`);
      // The browser compiles and collects garbage meanwhile, so a single moment is not reliable.
      const [early, late] = /** @type {const} */ ([measured.slice(4, 7), measured.slice(-3)]).map((moments) => ({
        all: median(moments.map(({ all }) => all)),
        heap: median(moments.map(({ heap }) => heap)),
        files: moments[0]?.files,
      }));
      assert.ok(early && late);
      assert.ok(late.all <= 1.05 * early.all, `all processes grow from ${megabytes(early.all)} to ${megabytes(late.all)}: ${all.map(megabytes).join(", ")}`);
      assert.ok(late.heap <= early.heap + 0.5e6, `the page's JavaScript grows from ${megabytes(early.heap)} to ${megabytes(late.heap)}`);
      assert.deepEqual(measured.filter(({ locks }) => locks > 0), [], "each worker's lock, and each model's, is free");
      assert.equal(late.files, early.files);
      if (path === TINY_MODEL) {
        const failed = ["http_status", "network", "not_a_model"];
        const expected = Array.from({ length: rounds }, (_, round) => [...(round % 10 === 3 ? failed : []), ...(round % 5 === 1 ? ["aborted"] : [])]);
        assert.deepEqual(codes, expected.flat());
      }
      record({
        section: "life",
        what: `${name} loaded and closed ${rounds} times`,
        tried: path === TINY_MODEL ? "ten further loads aborted and fifteen failed between them" : "160 MB of weights each time",
        outcome: `memory of all of Chromium's processes ${megabytes(early.all)} after the 5th and ${megabytes(late.all)} after the last (${late.all < early.all ? "" : "+"}${(100 * (late.all / early.all - 1)).toFixed(1)} %); no worker, lock or file left over`,
      });
    });
  }
});

test("a page that stays open: 200 changes of view and 500 texts add no node and no listener", { timeout: 120_000 }, async (t) => {
  const clip = await site.newPageWithServiceWorker(t);
  await clip.loadTinyModel();
  const processes = await Processes.of(clip.page);
  const seen = [];
  for (let turn = 0; turn < 50; turn++) {
    for (const view of ["search", "check", "embed", ""]) {
      await clip.page.evaluate((view) => void (location.hash = `#/${view}`), view);
      await clip.page.locator(`#view-${view || "embed"}`).waitFor();
    }
    await clip.page.evaluate((turn) => {
      const field = /** @type {HTMLTextAreaElement} */ (document.querySelector("#texts"));
      for (let i = 0; i < 10; i++) {
        field.value = `text ${turn % 5}${i}\na photo of ${i} cats`;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }, turn);
    if (turn % 5 === 4) {
      await clip.embed();
      seen.push(await processes.counts());
    }
  }
  const early = seen[1];
  assert.ok(early);
  // Replaced parts of the page may be collected late; leaked parts are never collected.
  for (let wait = 0; wait < 10 && grows(early, seen.at(-1)); wait++) {
    await pause(1000);
    seen.push(await processes.counts());
  }
  const late = seen.at(-1);
  t.diagnostic(JSON.stringify(seen));
  assert.ok(late && !grows(early, late), `nodes and listeners: ${JSON.stringify(seen)}`);
  record({
    section: "life",
    what: "a page that stays open for long",
    tried: "200 changes of view, 500 texts typed, embedded ten times",
    outcome: `${early.nodes} nodes and ${early.listeners} listeners at the start, ${late.nodes} and ${late.listeners} at the end`,
  });
});

/**
 * @param {{ nodes: number, listeners: number }} early
 * @param {{ nodes: number, listeners: number }} [late]
 */
function grows(early, late) {
  return late !== undefined && (late.nodes > early.nodes + 20 || late.listeners > early.listeners);
}
