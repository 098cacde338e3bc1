// The API without a worker: in a page, in a worker, a shared worker and a service worker of the caller's own.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site, TEST_DATA } from "../support/browser.mjs";
import { openApi } from "../support/loads.mjs";
import { file } from "../support/server.mjs";
import { largestDifference } from "../support/vectors.mjs";

const EXPECTED = /** @type {number[][]} */ (JSON.parse(readFileSync(join(TEST_DATA, "tiny-gelu.q8_0.json"), "utf8")).data);
const TEXTS = ["a photo of a cat", "", "привет, 世界 😀"];
const IMAGES = ["rocket.jpg", "horse.png"];

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {import("node:test").TestContext} t */
async function emptyPage(t) {
  const page = await site.emptyPage(t);
  for (const name of IMAGES) site.own.answer(`/${name}`, file(join(TEST_DATA, "../../www/check", name)));
  site.own.answer("/cat.png", file(join(FIXTURES, "cat.png")));
  return page;
}

/** Runs in any context: the vectors of texts and images. */
const EMBED = `async (ClipEncoder, model, options) => {
  const clip = await ClipEncoder.load(model, options);
  const texts = await clip.embedText(${JSON.stringify(TEXTS)});
  const images = await clip.embedImage(${JSON.stringify(IMAGES)}.map((name) => new URL("/" + name, location.href)));
  clip.close();
  return { vectors: [...texts.data, ...images.data], threads: clip.threads };
}`;

/** @param {{ vectors: number[][], threads: number }} told */
function assertExpected({ vectors, threads }) {
  assert.equal(threads, 1);
  assert.equal(vectors.length, EXPECTED.length);
  for (const [i, vector] of vectors.entries()) {
    const difference = largestDifference(vector, EXPECTED[i] ?? []);
    assert.ok(difference <= 1e-5, `a component of input ${i} differs by ${difference} from the command line's`);
  }
}

describe("worker: false", () => {
  test("in a page", async (t) => {
    const page = await emptyPage(t);
    const told = await page.evaluate(
      async ({ embed, model }) => {
        const { ClipEncoder } = await import(String("/in-place.js"));
        return new Function(`return ${embed}`)()(ClipEncoder, model, {});
      },
      { embed: EMBED, model: `${site.hub.origin}/tiny-gelu.q8_0.gguf` },
    );
    assertExpected(told);
    assert.deepEqual(page.workers(), []);
  });

  test("with clip.js, which has nothing that computes: the error names the file to import", async (t) => {
    const page = await emptyPage(t);
    await openApi(page);
    const told = await page.evaluate((model) => window.told(window.ClipEncoder.load(model, { worker: false })), `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.match(String(told), /^invalid_input: .+"clip-wasm\/in-place\.js"/);
  });

  test("in a page, with the modules given", async (t) => {
    const page = await emptyPage(t);
    const told = await page.evaluate(
      async ({ embed, model }) => {
        const { ClipEncoder, useModules } = await import(String("/in-place.js"));
        const compiled = (/** @type {string} */ name) => WebAssembly.compileStreaming(fetch(`/pkg/${name}/clip_wasm_bg.wasm`));
        useModules({ towers: await compiled("simd128"), pictures: await compiled("pictures") });
        return new Function(`return ${embed}`)()(ClipEncoder, model, {});
      },
      { embed: EMBED, model: `${site.hub.origin}/tiny-gelu.q8_0.gguf` },
    );
    assertExpected(told);
    assert.equal(site.own.requests.filter((path) => path.endsWith(".wasm")).length, 2, "each module is fetched once");
  });

  for (const kind of /** @type {const} */ (["Worker", "SharedWorker"])) {
    test(`in a ${kind}`, async (t) => {
      const page = await emptyPage(t);
      site.own.answer("/own.js", (_request, response) => {
        const answer = kind === "Worker" ? "run(self)" : "self.onconnect = ({ ports: [port] }) => run(port)";
        const source = `import { ClipEncoder } from "/in-place.js";
          const run = (port) => (port.onmessage = async ({ data }) => port.postMessage(await (${EMBED})(ClipEncoder, data, { worker: false }).catch(String)));
          ${answer};`;
        response.writeHead(200, { "content-type": "text/javascript" }).end(source);
      });
      const told = await page.evaluate(
        ({ kind, model }) =>
          new Promise((resolve, reject) => {
            const worker = kind === "Worker" ? new Worker("/own.js", { type: "module" }) : new SharedWorker("/own.js", { type: "module" });
            worker.onerror = (event) => reject(new Error(String(/** @type {ErrorEvent} */ (event).message)));
            const port = "port" in worker ? worker.port : worker;
            port.onmessage = ({ data }) => resolve(data);
            port.postMessage(model);
          }),
        { kind, model: `${site.hub.origin}/tiny-gelu.q8_0.gguf` },
      );
      assertExpected(told);
    });
  }

  test("in a service worker, with in-place.js", async (t) => {
    const page = await emptyPage(t);
    site.own.answer("/own-sw.js", (_request, response) => {
      const source = `import { ClipEncoder } from "/in-place.js";
        self.onmessage = (event) => event.waitUntil((${EMBED})(ClipEncoder, event.data, {}).catch((error) => error.code + ": " + error.message).then((told) => event.source.postMessage(told)));`;
      response.writeHead(200, { "content-type": "text/javascript" }).end(source);
    });
    const told = await page.evaluate(async (model) => {
      const registration = await navigator.serviceWorker.register("/own-sw.js", { type: "module", scope: "/own/" });
      const worker = registration.installing ?? registration.active;
      if (!worker) throw new Error("no worker");
      await new Promise((resolve) => (worker.state === "activated" ? resolve(null) : worker.addEventListener("statechange", () => worker.state === "activated" && resolve(null))));
      const answer = new Promise((resolve) => navigator.serviceWorker.addEventListener("message", ({ data }) => resolve(data)));
      navigator.serviceWorker.startMessages();
      worker.postMessage(model);
      return answer;
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.ok(typeof told === "object", String(told));
    assertExpected(/** @type {any} */ (told));
  });

  test("keeps the model for the next load, lists it and deletes it", async (t) => {
    const page = await emptyPage(t);
    await openApi(page, "/in-place.js");
    const model = `${site.hub.origin}/tiny-gelu.q8_0.gguf`;
    const told = await page.evaluate(async (model) => {
      const { ClipEncoder, deleteKeptModel, keptModels } = window;
      /** @type {string[]} */
      const warnings = [];
      for (let round = 0; round < 2; round++) (await ClipEncoder.load(model, { worker: false, onWarning: ({ message }) => void warnings.push(message) })).close();
      const kept = (await keptModels()).map(({ url, whole }) => ({ url, whole }));
      await deleteKeptModel(model);
      return { kept, warnings, left: (await keptModels()).length };
    }, model);
    assert.deepEqual(told, { kept: [{ url: model, whole: true }], warnings: [], left: 0 });
    assert.equal(site.hub.requests.length, 1);
  });

  test("lets other work through between the inputs of a batch, and its calls are aborted", async (t) => {
    const page = await emptyPage(t);
    await openApi(page, "/in-place.js");
    const told = await page.evaluate(async (model) => {
      const clip = await window.ClipEncoder.load(model, { worker: false });
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      const { data } = await clip.embedText(Array.from({ length: 50 }, (_, i) => `text ${i}`));
      clearInterval(timer);
      const abort = new AbortController();
      const aborted = window.codeOf(clip.embedText(Array(1000).fill("a"), { signal: abort.signal }));
      setTimeout(() => abort.abort());
      return { length: data.length, turns, aborted: await aborted, after: (await clip.embedText(["a"])).data.length };
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.ok(told.turns > 0);
    assert.deepEqual({ ...told, turns: 1 }, { length: 50, turns: 1, aborted: "aborted", after: 1 });
  });

  test("a module that traps fails one call of each encoder, and no other", async (t) => {
    const page = await emptyPage(t);
    const told = await page.evaluate(async (model) => {
      /** @type {WebAssembly.Memory[]} */
      const memories = [];
      const { instantiate } = WebAssembly;
      WebAssembly.instantiate = async (/** @type {any} */ ...parameters) => {
        const made = await /** @type {any} */ (instantiate)(...parameters);
        memories.push((made.instance ?? made).exports.memory);
        return made;
      };
      const { ClipEncoder } = await import(String("/in-place.js"));
      /** @type {string[]} */
      const warnings = [];
      const options = { onWarning: (/** @type {any} */ { code }) => void warnings.push(code) };
      const [first, second] = [await ClipEncoder.load(model, options), await ClipEncoder.load(model, options)];
      const embed = async (/** @type {any} */ clip) => String((await clip.embedText(["a dog"])).data[0]);
      const want = [await embed(first), await embed(second)];
      for (const memory of memories) new Uint8Array(memory.buffer).fill(255, 1 << 10);
      const code = await first.embedText(["a dog"]).catch((/** @type {any} */ error) => error.code);
      const again = await embed(first);
      const other = await second.embedText(["a dog"]).catch((/** @type {any} */ error) => error.code);
      const later = [];
      for (let round = 0; round < 3; round++) for (const clip of [second, first]) later.push((await embed(clip)) === want[0]);
      return { code, equal: [want[0] === want[1], again === want[0]], other, later, warnings };
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.equal(told.code, "worker_failed");
    assert.deepEqual(told.equal, [true, true]);
    assert.equal(told.other, "worker_failed", "what it had in the instance is gone");
    assert.deepEqual(told.later, Array(6).fill(true), "the new instance serves both");
    assert.deepEqual(told.warnings, ["worker_replaced", "worker_replaced"]);
  });
});
