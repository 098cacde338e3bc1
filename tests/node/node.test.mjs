// The package in Node: its sources, its threads, its errors, and vectors equal to the command line's.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createReadStream, openAsBlob, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { runInNewContext } from "node:vm";
import { FIXTURES, PHOTOS, TEST_DATA, TINY_MODEL } from "../browser/support/browser.mjs";
import { StaticServer } from "../browser/support/server.mjs";
import { record } from "../reliability/record.mjs";
import { largestDifference } from "../browser/support/vectors.mjs";
import { Installed } from "./installed.mjs";

/** The command line's vectors for these are in the test data: see tests/data.sh. */
const TEXTS = ["a photo of a cat", "", "привет, 世界 😀"];
const IMAGES = ["rocket.jpg", "horse.png"].map((name) => join(PHOTOS, name));
const EXPECTED = /** @type {number[][]} */ (JSON.parse(readFileSync(join(TEST_DATA, "tiny-gelu.q8_0.json"), "utf8")).data);

/** @typedef {typeof import("../../www/clip.js")} Api */
/** @typedef {import("../../www/clip.js").ClipEncoder} ClipEncoder */

/** @type {Installed} */
let installed;
/** @type {Api} */
let api;
/** @type {StaticServer} */
let server;

before(async () => {
  installed = new Installed();
  api = await import(pathToFileURL(createRequire(join(installed.folder, "/")).resolve("clip-wasm")).href);
  server = await new StaticServer(TEST_DATA).start();
});
after(async () => {
  await server.stop();
  installed.remove();
});

/**
 * @param {import("node:test").TestContext} t
 * @param {Parameters<Api["ClipEncoder"]["load"]>[0]} source
 * @param {Parameters<Api["ClipEncoder"]["load"]>[1]} [options]
 * @returns {Promise<ClipEncoder>}
 */
async function load(t, source, options) {
  const clip = await api.ClipEncoder.load(source, { onWarning: ({ message }) => assert.fail(message), ...options });
  t.after(() => clip.close());
  return clip;
}

/** @param {ClipEncoder} clip */
async function vectors(clip) {
  return [...(await clip.embedText(TEXTS)).data, ...(await clip.embedImage(IMAGES)).data];
}

/** @param {number[][]} given */
function assertExpected(given) {
  assert.equal(given.length, EXPECTED.length);
  for (const [i, vector] of given.entries()) {
    const difference = largestDifference(vector, EXPECTED[i] ?? []);
    assert.ok(difference <= 1e-5, `a component of input ${i} differs by ${difference} from the command line's`);
  }
}

/** @param {Promise<unknown>} promise */
async function failure(promise) {
  return promise.then(
    () => assert.fail("it did not fail"),
    (error) => {
      assert.ok(error instanceof api.ClipError, `no ClipError: ${error.stack}`);
      return error;
    },
  );
}

describe("a model is loaded from", () => {
  /** @type {Record<string, () => Parameters<Api["ClipEncoder"]["load"]>[0] | Promise<Blob>>} */
  const sources = {
    "a path": () => TINY_MODEL,
    "a relative path": () => relative(process.cwd(), TINY_MODEL),
    "a file URL": () => pathToFileURL(TINY_MODEL),
    "a file URL as a string": () => pathToFileURL(TINY_MODEL).href,
    "an http URL": () => `${server.origin}/tiny-gelu.q8_0.gguf`,
    "bytes": () => readFileSync(TINY_MODEL),
    "a Blob": () => new Blob([readFileSync(TINY_MODEL)]),
    "a Blob that reads a file": () => openAsBlob(TINY_MODEL),
  };
  for (const [name, source] of Object.entries(sources)) {
    test(name, async (t) => assertExpected(await vectors(await load(t, await source()))));
  }

  test("a checkpoint's path, with its files beside it", async (t) => {
    const path = join(TEST_DATA, "tiny-hf/model.safetensors");
    assertExpected(await vectors(await load(t, path, { activation: "gelu" })));
  });

  test("a path, one tower after the other, of which only parts are read", async (t) => {
    const clip = await load(t, TINY_MODEL, { towers: ["text"] });
    assert.deepEqual(clip.info.towers, ["text"]);
    await clip.loadTowers(["vision"]);
    assertExpected(await vectors(clip));
  });
});

test("an image is a path, a URL, bytes, a Buffer or a Blob", async (t) => {
  const clip = await load(t, TINY_MODEL);
  const path = join(FIXTURES, "cat.png");
  const buffer = readFileSync(path);
  const url = server.answer("/cat.png", (_request, response) => void response.end(buffer));
  const { data } = await clip.embedImage([path, relative(process.cwd(), path), pathToFileURL(path), url, buffer, new Uint8Array(buffer), new Blob([buffer]), await openAsBlob(path)]);
  assert.equal(data.length, 8);
  for (const [i, vector] of data.entries()) assert.deepEqual(vector, data[0], `input ${i} differs from input 0`);
  assert.ok(buffer.length > 0, "the caller keeps the bytes");
});

test("an image is a stream, a response, pixels, or a value of another realm", async (t) => {
  const clip = await load(t, TINY_MODEL);
  const path = join(FIXTURES, "cat.png");
  const buffer = readFileSync(path);
  const url = server.answer("/cat.png", (_request, response) => void response.end(buffer));
  const foreign = runInNewContext("Uint8Array.from(bytes)", { bytes: [...buffer] });
  const images = [path, createReadStream(path, { highWaterMark: 100 }), Readable.toWeb(createReadStream(path)), await fetch(url), `data:image/png;base64,${buffer.toString("base64")}`, foreign, foreign.buffer];
  const { data } = await clip.embedImage(/** @type {any} */ (images));
  for (const [i, vector] of data.entries()) assert.deepEqual(vector, data[0], `input ${i} differs from input 0`);
  // A bitmap file of 24 bits, whose rows go from the bottom to the top, as blue, green and red.
  const [width, height] = [8, 6];
  const rgb = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37) % 256);
  const bmp = Buffer.alloc(54 + rgb.length);
  bmp.write("BM");
  for (const [at, value] of /** @type {const} */ ([[2, bmp.length], [10, 54], [14, 40], [18, width], [22, height]])) bmp.writeUInt32LE(value, at);
  bmp.writeUInt16LE(1, 26);
  bmp.writeUInt16LE(24, 28);
  for (let i = 0; i < rgb.length; i++) {
    const row = Math.floor(i / (3 * width));
    const [pixel, channel] = [Math.floor(i / 3) % width, i % 3];
    bmp[54 + 3 * ((height - 1 - row) * width + pixel) + 2 - channel] = Number(rgb[i]);
  }
  const [raw, wanted] = (await clip.embedImage([{ data: rgb, width, height }, bmp])).data;
  assert.deepEqual(raw, wanted);
});

test("a stream that goes silent is left when the signal aborts, and when the encoder is closed", { timeout: 30_000 }, async (t) => {
  const clip = await load(t, TINY_MODEL);
  const [first, second] = [new Readable({ read() {} }), new Readable({ read() {} })];
  assert.equal((await failure(clip.embedImage([first], { signal: AbortSignal.timeout(50) }))).code, "aborted");
  const closed = failure(clip.embedImage([second]));
  setTimeout(() => clip.close(), 50);
  assert.equal((await closed).code, "closed");
  assert.deepEqual([first.destroyed, second.destroyed], [true, true]);
});

test("threads share the work, and do not change a bit", async (t) => {
  const one = await load(t, TINY_MODEL, { threads: 1 });
  assert.equal(one.threads, 1);
  const all = await load(t, TINY_MODEL);
  assert.equal(all.threads, Math.min(availableParallelism(), 8));
  const three = await load(t, TINY_MODEL, { threads: 3 });
  assert.equal(three.threads, 3);
  const wanted = await vectors(one);
  assert.deepEqual(await vectors(all), wanted);
  assert.deepEqual(await vectors(three), wanted);
});

test("many calls with one signal cause no warning of Node's", async (t) => {
  const clip = await load(t, TINY_MODEL);
  /** @type {Error[]} */
  const warnings = [];
  const note = (/** @type {Error} */ warning) => void warnings.push(warning);
  process.on("warning", note);
  t.after(() => process.off("warning", note));
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 20 }, () => clip.embedText(["a cat"], { signal })));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(warnings, []);
});

for (const options of [{ worker: true }, { worker: false }]) {
  test(`the time of each input, stage by stage: ${JSON.stringify(options)}`, async (t) => {
    const clip = await load(t, TINY_MODEL, options);
    /** @type {import("../../www/clip.js").ImageTimings[]} */
    const images = [];
    /** @type {import("../../www/clip.js").TextTimings[]} */
    const texts = [];
    await clip.embedImage(IMAGES, { onTimings: (timings) => void images.push(timings) });
    await clip.embedText(TEXTS, { onTimings: (timings) => void texts.push(timings) });
    assert.deepEqual(images.map(({ index, decoder }) => [index, decoder]).sort(), [[0, "wasm"], [1, "wasm"]]);
    assert.deepEqual(texts.map(({ index }) => index), [0, 1, 2]);
    for (const { read, decode, resize, tower, waiting, total } of images) {
      for (const time of [read, decode, resize, tower]) assert.ok(time > 0 && time < total, String([read, decode, resize, tower, total]));
      assert.ok(Math.abs(read + decode + resize + tower + waiting - total) < 1);
    }
    for (const { tower, waiting, total } of texts) assert.ok(tower > 0 && Math.abs(tower + waiting - total) < 1);
  });
}

test("progress is reported, up to the total", async (t) => {
  /** @type {{ loaded: number, total: number | null }[]} */
  const told = [];
  await load(t, TINY_MODEL, { onProgress: (progress) => told.push(progress) });
  assert.deepEqual([told.at(-1)?.loaded, told.at(-1)?.total], [readFileSync(TINY_MODEL).length, readFileSync(TINY_MODEL).length]);
});

test("nothing is stored", async () => {
  assert.deepEqual(await api.keptModels(), []);
  await api.deleteKeptModel(`${server.origin}/tiny-gelu.q8_0.gguf`);
});

describe("errors have codes", () => {
  test("a model that does not exist", async () => {
    const { code, message } = await failure(api.ClipEncoder.load("nowhere.gguf"));
    assert.deepEqual([code, /nowhere\.gguf cannot be read: ENOENT/.test(message)], ["io", true], message);
  });
  test("a folder", async () => assert.equal((await failure(api.ClipEncoder.load(FIXTURES))).code, "io"));
  test("a file that is not a model", async () => {
    assert.equal((await failure(api.ClipEncoder.load(join(FIXTURES, "cat.png")))).code, "not_a_model");
  });
  test("a response other than 200", async () => {
    assert.equal((await failure(api.ClipEncoder.load(`${server.origin}/nothing.gguf`))).code, "http_status");
  });
  test("a wrong SHA-256", async () => {
    assert.equal((await failure(api.ClipEncoder.load(TINY_MODEL, { sha256: "0".repeat(64) }))).code, "corrupt_model");
  });
  test("an image that does not exist", async (t) => {
    assert.equal((await failure((await load(t, TINY_MODEL)).embedImage(["nowhere.png"]))).code, "io");
  });
  test("a folder, or an empty text, as an image", async (t) => {
    const clip = await load(t, TINY_MODEL);
    for (const [image, wanted, says] of /** @type {[string, string, RegExp][]} */ ([
      [FIXTURES, "io", /is a folder, not a file; give the path of a file: an image, /],
      ["", "invalid_input", /^expected a URL or a file, but got an empty text$/],
    ])) {
      const { code, message } = await failure(clip.embedImage([image]));
      assert.equal(code, wanted);
      assert.match(message, says);
    }
  });
  test("AVIF, which only browsers decode", async (t) => {
    const { code, message } = await failure((await load(t, TINY_MODEL)).embedImage([join(FIXTURES, "cat.avif")]));
    assert.deepEqual([code, /AVIF/.test(message)], ["unsupported_image", true], message);
  });
  test("a load that is aborted", async () => {
    assert.equal((await failure(api.ClipEncoder.load(TINY_MODEL, { signal: AbortSignal.abort() }))).code, "aborted");
    const abort = new AbortController();
    const loading = failure(api.ClipEncoder.load(TINY_MODEL, { signal: abort.signal, onProgress: () => abort.abort() }));
    assert.equal((await loading).code, "aborted");
  });
  test("calls after close", async () => {
    const clip = await api.ClipEncoder.load(TINY_MODEL);
    const waiting = failure(clip.embedText(["a cat"]));
    clip.close();
    assert.equal((await waiting).code, "closed");
    assert.equal((await failure(clip.embedText(["a cat"]))).code, "closed");
  });
});

test("a worker that ends is replaced, with its threads, and queued calls are answered", async (t) => {
  const { workers } = await import(pathToFileURL(join(installed.folder, "node_modules/clip-wasm/lib/client/start-worker.js")).href);
  const { start } = workers;
  t.after(() => (workers.start = start));
  let count = 0;
  let ends = false;
  workers.start = (/** @type {string} */ kind, /** @type {string} */ name, /** @type {object} */ place) => {
    const worker = start(kind, name, place);
    if (kind !== "model") return worker;
    count++;
    const { dispatchEvent, postMessage } = worker;
    let hasEnded = false;
    // What it had answered before it ended does not count.
    worker.dispatchEvent = (/** @type {Event} */ event) => (hasEnded && event.type === "message") || dispatchEvent.call(worker, event);
    worker.postMessage = (/** @type {any} */ message) => {
      postMessage.call(worker, message);
      if (!ends || message.method !== "embedSquares") return;
      [ends, hasEnded] = [false, true];
      worker.terminate();
    };
    return worker;
  };
  /** @type {string[]} */
  const warnings = [];
  const clip = await load(t, TINY_MODEL, { threads: 2, onWarning: ({ code }) => warnings.push(code) });
  for (let round = 1; round <= 3; round++) {
    ends = true;
    const running = failure(clip.embedImage(IMAGES.slice(0, 1))); // several would be tried again, one by one
    const waiting = vectors(clip);
    const { code, message } = await running;
    assert.equal(code, "worker_failed");
    assert.match(message, /ended with code 1; the encoder restarts by itself/);
    assertExpected(await waiting);
    assert.equal(warnings.length, round);
  }
  assert.deepEqual([count, clip.threads, warnings], [4, 2, Array(3).fill("worker_replaced")]);
  record({ section: "faults", what: "a worker of Node ends", tried: "three times, during a batch, with threads", outcome: "only that call fails; another worker continues, with equal vectors" });
});

for (const [what, options] of /** @type {[string, string[]][]} */ ([["ES modules", []], ["CommonJS alone, as before Node 20.19", ["--no-experimental-require-module"]]])) {
  test(`require() gives the API, in a Node whose require() loads ${what}`, () => {
    const program = `
      const { ClipEncoder, similarity } = require("clip-wasm");
      (async () => {
        const vectors = [];
        for (const worker of [true, false]) {
          const clip = await ClipEncoder.load(process.argv[1], { worker });
          vectors.push(...(await clip.embedText(["a cat"])).data, ...(await clip.embedImage([process.argv[2]])).data);
          clip.close();
        }
        console.log(JSON.stringify([similarity(vectors[0], vectors[2]), similarity(vectors[1], vectors[3])]));
      })();`;
    const run = { cwd: installed.folder, encoding: /** @type {const} */ ("utf8"), timeout: 60_000 };
    const printed = execFileSync(process.execPath, [...options, "--input-type=commonjs", "--eval", program, TINY_MODEL, join(FIXTURES, "cat.png")], run);
    for (const cosine of JSON.parse(printed)) assert.ok(Math.abs(cosine - 1) < 1e-6, printed);
  });
}

test("a process ends when its encoder is closed, and has no new globals", () => {
  const program = `
    const before = new Set(Reflect.ownKeys(globalThis));
    const { ClipEncoder } = await import("clip-wasm");
    const clip = await ClipEncoder.load(process.argv[1]);
    const { data } = await clip.embedText(["a cat"]);
    clip.close();
    console.log(JSON.stringify({ length: data[0].length, added: Reflect.ownKeys(globalThis).filter((key) => !before.has(key)).map(String) }));`;
  const options = { cwd: installed.folder, encoding: /** @type {const} */ ("utf8"), timeout: 60_000 };
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", program, TINY_MODEL], options);
  assert.deepEqual(JSON.parse(printed), { length: 64, added: [] });
});
