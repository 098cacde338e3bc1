// Pictures are read in their own workers: whatever a file does to its worker, only that file fails.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { REPOSITORY, Site } from "../support/browser.mjs";
import { withTableExported } from "../support/deaths.mjs";
import { openApi, script } from "../support/loads.mjs";
import { status } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { TestContext } from "node:test" */

const SCRIPT = "pkg/workers/picture-worker.js";
const MODULE = "pkg/pictures/clip_wasm_bg.wasm";
/** Milliseconds that a picture may take here. */
const LONGEST = 5000;

/**
 * A script that the worker that reads pictures runs before its own. Depending on an image's type it removes the
 * module's functions, so that the module traps at its next indirect call; or it makes the worker never answer, or end.
 * `made` has the memory of each instance of the module.
 */
function mortal() {
  /** @type {WebAssembly.Memory[]} */
  const made = [];
  self.made = made;
  /** @type {WebAssembly.Table} */
  let functions;
  const keep = (/** @type {WebAssembly.Instance} */ { exports }) => {
    made.push(/** @type {WebAssembly.Memory} */ (exports.memory));
    functions = /** @type {WebAssembly.Table} */ (exports.functions);
  };
  const { instantiate, Instance } = WebAssembly;
  WebAssembly.instantiate = async (/** @type {any} */ module, /** @type {WebAssembly.Imports | undefined} */ imports) => {
    /** @type {any} */
    const made = await instantiate(module, imports);
    keep(made.instance ?? made);
    return made;
  };
  const Watched = function (/** @type {WebAssembly.Module} */ module, /** @type {WebAssembly.Imports | undefined} */ imports) {
    const made = new Instance(module, imports);
    keep(made);
    return made;
  };
  Watched.prototype = Instance.prototype;
  WebAssembly.Instance = /** @type {any} */ (Watched);
  /** Ends the worker, but not before the page watches its lock: otherwise the page would not notice. */
  const endWatched = async () => {
    const isWatched = async () => (await navigator.locks.query()).pending?.some(({ name }) => name === self.name);
    for (let tries = 0; tries < 1000 && !(await isWatched()); tries++) await new Promise((resolve) => setTimeout(resolve, 10));
    self.close();
  };
  self.addEventListener("message", (event) => {
    const type = event.data.params?.image?.type;
    if (type === "x/trap") for (let i = 0; i < functions.length; i++) functions.set(i, null);
    if (type === "x/hang") for (;;);
    if (type === "x/end") {
      event.stopImmediatePropagation();
      endWatched();
    }
  });
}

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A page with the API, whose picture workers can be broken.
 * @param {TestContext} t
 * @param {number} [longest] milliseconds that reading a picture may take, if not as many as for a visitor
 * @param {{ early?: boolean }} [options] `early`: whether the worker starts before the first picture comes, as it does if
 *   the model is loaded for pictures
 */
async function page(t, longest, { early = true } = {}) {
  const page = await site.emptyPage(t);
  const answer = (/** @type {string} */ path, /** @type {string} */ type, /** @type {string | Buffer} */ body) =>
    site.own.answer(`/${path}`, (_request, response) => void response.writeHead(200, { "content-type": type }).end(body));
  const read = (/** @type {string} */ path) => readFileSync(join(REPOSITORY, "www", path));
  answer(SCRIPT, "text/javascript", `${script(mortal)}\n${read(SCRIPT)}`);
  answer(MODULE, "application/wasm", withTableExported(read(MODULE)));
  if (longest) {
    const pool = String(read("lib/client/picture-pool.js"));
    const hasty = pool.replace("const LONGEST = 120_000;", `const LONGEST = ${longest};`);
    assert.notEqual(hasty, pool);
    answer("lib/client/picture-pool.js", "text/javascript", hasty);
  }
  await openApi(page);
  await page.evaluate(async ({ url, early }) => {
    const { ClipEncoder, cat, onWarning } = window;
    window.clip = await ClipEncoder.load(url, { onWarning, towers: early ? undefined : ["text"] });
    if (!early) await window.clip.loadTowers(["vision"]);
    window.image = (type) => new Blob([cat], { type });
  }, { url: `${site.hub.origin}/tiny-gelu.q8_0.gguf`, early });
  return page;
}

/** Runs in the page. */
const embedCat = () => window.told(window.clip.embedImage([window.cat]));

describe("the worker that reads pictures", () => {
  /** What a page has asked for in order to read pictures. */
  const asked = () => site.own.requests.filter((path) => path.includes("picture-worker") || path.includes("pkg/pictures/")).toSorted();
  const ALL = [`/${SCRIPT}`, `/${MODULE}`, "/pkg/pictures/clip_wasm.js"].toSorted();

  test("and its module are not loaded for texts", async (t) => {
    const tab = await page(t, undefined, { early: false });
    await tab.evaluate(() => window.told(window.clip.embedText(["a dog"])));
    assert.deepEqual(asked(), []);
    await tab.evaluate(embedCat);
    assert.deepEqual(asked(), ALL);
    const towers = site.own.requests.filter((path) => path.endsWith(".wasm") && !path.includes("pictures"));
    assert.equal(towers.length, 1);
  });

  test("and its module are loaded with the model, once, if it is for pictures", async (t) => {
    const tab = await page(t);
    await waitUntil("all is asked for", () => asked().length === ALL.length);
    assert.equal((await tab.evaluate(embedCat)).length, 64);
    assert.deepEqual(asked(), ALL);
  });

  test("ends with a load that fails", async (t) => {
    const tab = await page(t);
    const told = await tab.evaluate((url) => window.told(window.ClipEncoder.load(url)), `${site.hub.origin}/nothing-here.gguf`);
    assert.match(String(told), /^http_status/);
    await tab.evaluate(() => window.clip.close());
    await waitUntil("all workers have ended", () => tab.workers().length === 0);
  });

  for (const [what, type, expected, longest] of /** @type {const} */ ([
    ["makes its module trap", "x/trap", /^corrupt_image: the decoder stopped at this picture \(RuntimeError/],
    ["keeps it busy for too long", "x/hang", /^corrupt_image: reading this picture takes longer than 5 s/, LONGEST],
    ["ends it", "x/end", /^worker_failed: the browser has ended the worker that reads pictures; try again/],
  ])) {
    test(`fails for the picture that ${what}, and reads all others; the model is not affected`, async (t) => {
      const tab = await page(t, longest);
      const { want, got, each, warnings } = await tab.evaluate(async (type) => {
        const { clip, cat, image, told, warnings } = window;
        const want = await told(clip.embedImage([cat]));
        const waiting = [clip.embedImage([image(type)]), clip.embedImage([cat]), clip.embedText(["a dog"]), clip.embedImage([image(type)]), clip.embedImage([cat])].map(told);
        const got = await Promise.all(waiting);
        /** @type {(string | number[])[]} */
        const each = [];
        for await (const outcome of clip.embedEach([cat, image(type), cat])) each[outcome.index] = "error" in outcome ? outcome.error.code : Array.from(outcome.vector);
        return { want, got, each, warnings };
      }, type);
      assert.equal(want.length, 64, String(want));
      assert.match(String(got[0]), expected);
      assert.match(String(got[3]), expected);
      assert.deepEqual([got[1], got[4]], [want, want]);
      assert.equal(got[2]?.length, 64, String(got[2]));
      assert.deepEqual(each, [want, String(got[0]).split(":")[0], want]);
      assert.deepEqual(warnings, []);
      assert.equal(site.hub.requests.length, 1, "the model is not loaded again");
      record({ section: "faults", what: `a picture that ${what}`, tried: "alone, among others, in a batch", outcome: "that picture alone fails; the model is not loaded again" });
    });
  }

  test("gives back the memory of a panorama", async (t) => {
    const tab = await page(t);
    const code = await tab.evaluate(async () => {
      const { clip, cat, told } = window;
      const [width, height] = [12_000, 5_000];
      const bytes = new Uint8Array(54 + 3 * width * height);
      bytes.set([0x42, 0x4d]);
      const view = new DataView(bytes.buffer);
      for (const [at, value] of /** @type {const} */ ([[2, bytes.length], [10, 54], [14, 40], [18, width], [22, height], [34, bytes.length - 54]])) view.setUint32(at, value, true);
      view.setUint16(26, 1, true);
      view.setUint16(28, 24, true);
      const want = await told(clip.embedImage([cat]));
      const panorama = await told(clip.embedImage([bytes]));
      if (typeof panorama === "string") return panorama;
      return String(await told(clip.embedImage([cat]))) === String(want);
    });
    assert.equal(code, true);
    const worker = tab.workers().find((worker) => worker.url().endsWith("/picture-worker.js"));
    const sizes = await worker?.evaluate(() => self.made.map(({ buffer }) => buffer.byteLength));
    assert.ok(sizes?.length === 2, String(sizes));
    assert.ok(Number(sizes[0]) > 300e6, `${sizes[0]} bytes for the panorama`);
    assert.ok(Number(sizes[1]) < 20e6, `${sizes[1]} bytes after it`);
  });

  test("is ended when the call is aborted", async (t) => {
    const tab = await page(t);
    const { aborted, next, milliseconds } = await tab.evaluate(async () => {
      const { clip, cat, image, told } = window;
      await told(clip.embedImage([cat]));
      const abort = new AbortController();
      const hanging = told(clip.embedImage([image("x/hang")], { signal: abort.signal }));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const start = performance.now();
      abort.abort();
      const aborted = await hanging;
      const next = await told(clip.embedImage([cat]));
      return { aborted, next: next.length, milliseconds: performance.now() - start };
    });
    assert.match(String(aborted), /^aborted/);
    assert.equal(next, 64);
    assert.ok(milliseconds < 60_000, `${milliseconds} ms: the next picture waits for no other`);
  });

  test("is one of several for many pictures, and all end with the encoder", async (t) => {
    const tab = await page(t);
    const count = () => tab.workers().filter((worker) => worker.url().endsWith("/picture-worker.js")).length;
    const right = await tab.evaluate(async (url) => {
      const { ClipEncoder, clip, cat, told } = window;
      Object.defineProperty(navigator, "hardwareConcurrency", { value: 4 });
      const many = await ClipEncoder.load(url, { threads: 1 });
      const want = String(await told(clip.embedImage([cat])));
      let right = 0;
      for await (const outcome of many.embedEach(Array(40).fill(cat))) right += Number("vector" in outcome && String(Array.from(outcome.vector)) === want);
      clip.close();
      window.clip = many;
      return right;
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.equal(right, 40);
    await waitUntil("three workers read pictures", () => count() === 3);
    await tab.evaluate(() => window.clip.close());
    await waitUntil("all workers have ended", () => tab.workers().length === 0);
  });

  test("passes from aborted calls to one that waits behind them", async (t) => {
    const tab = await page(t);
    const { aborted, last } = await tab.evaluate(async () => {
      const { clip, cat, image, told } = window;
      const [one, other] = [new AbortController(), new AbortController()];
      const embed = (/** @type {AbortController} */ { signal }, /** @type {string} */ type) => told(clip.embedImage([image(type)], { signal }));
      const waiting = ["x/hang", "", "", "", "", ""].map((type, i) => embed(i % 2 ? other : one, type));
      const last = told(clip.embedImage([cat]));
      await new Promise((resolve) => setTimeout(resolve, 300));
      one.abort();
      other.abort();
      const timeout = new Promise((resolve) => setTimeout(resolve, 15_000, "never"));
      return { aborted: (await Promise.all(waiting)).map((outcome) => String(outcome).split(":")[0]), last: await Promise.race([last, timeout]) };
    });
    assert.deepEqual(aborted.filter((code) => code !== "aborted" && !/^-?\d/.test(String(code))), []);
    assert.ok(Array.isArray(last), String(last));
  });

  test("that the browser has ended while it was idle costs no picture", async (t) => {
    const tab = await page(t);
    await tab.evaluate(embedCat);
    // A living worker holds a lock, for which the page waits.
    const locks = (/** @type {number} */ count) =>
      waitUntil(`there are ${count} locks`, async () => (await tab.evaluate(async () => {
        const { held = [], pending = [] } = await navigator.locks.query();
        return [...held, ...pending].filter(({ name }) => name?.startsWith("clip-wasm worker")).length;
      })) === count);
    await locks(4);
    const worker = tab.workers().find((worker) => worker.url().endsWith("/picture-worker.js"));
    await worker?.evaluate("self.close()").catch(() => {});
    await locks(2);
    assert.equal((await tab.evaluate(embedCat)).length, 64);
  });

  test("may wait longer for its module than a picture may take", async (t) => {
    const tab = await page(t, 1500, { early: false });
    const module = readFileSync(join(REPOSITORY, "www", MODULE));
    site.own.answer(`/${MODULE}`, (_request, response) => {
      setTimeout(() => response.writeHead(200, { "content-type": "application/wasm" }).end(module), 3000);
    });
    assert.equal((await tab.evaluate(embedCat)).length, 64);
  });

  test("is not waited for by a call whose image is still being fetched when the encoder is closed", async (t) => {
    const tab = await page(t);
    const url = site.hub.answer("/silent.png", () => {});
    const closed = await tab.evaluate(async (url) => {
      const { clip, told } = window;
      const waiting = told(clip.embedImage([url]));
      clip.close();
      return waiting;
    }, url);
    assert.match(String(closed), /^closed/);
  });

  test("whose module cannot be fetched reports that, and fetches it again", async (t) => {
    const tab = await page(t, undefined, { early: false });
    site.own.answer(`/${MODULE}`, status(404));
    assert.match(String(await tab.evaluate(embedCat)), /^http_status: .+pictures\/clip_wasm_bg\.wasm answered 404/);
    site.own.answer(`/${MODULE}`, (_request, response) => void response.writeHead(200, { "content-type": "application/wasm" }).end(readFileSync(join(REPOSITORY, "www", MODULE))));
    assert.equal((await tab.evaluate(embedCat)).length, 64);
  });

  test("whose script is missing ends a series with an error that does not blame the picture", async (t) => {
    const tab = await page(t, undefined, { early: false });
    site.own.answer(`/${SCRIPT}`, status(404));
    const told = await tab.evaluate(async () => {
      try {
        for await (const _ of window.clip.embedEach([window.cat, window.cat])) return "an outcome of one picture";
      } catch (/** @type {any} */ error) {
        return `${error.code}: ${error.message}`;
      }
      return "nothing";
    });
    assert.match(told, /^worker_failed: .+pkg\/workers\/picture-worker\.js as JavaScript/);
    assert.doesNotMatch(told, /leave this picture out/);
    assert.equal((await tab.evaluate(() => window.told(window.clip.embedText(["a dog"])))).length, 64);
  });
});
