// A GPU that is lost while other things happen: nothing is lost with it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Site, SOFTWARE_GPU_FLAGS, TEST_DATA } from "../support/browser.mjs";
import { LOSES, pageWithWorkers } from "../support/gpu.mjs";
import { status } from "../support/server.mjs";

/** @import { TestContext } from "node:test" */
/** @import { ClipEncoder, LoadOptions } from "../../../www/clip.js" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open(SOFTWARE_GPU_FLAGS)));
after(() => site.close());

const MODEL = join(TEST_DATA, "tiny-gelu.q8_0.gguf");
/** Bytes a second, with which the model takes some seconds. */
const SLOW = 1_200_000;
const TIMEOUT = { timeout: 120_000 };

/**
 * What a script of a test has at hand.
 * @typedef {object} Tools
 * @property {(options: LoadOptions) => Promise<ClipEncoder>} load
 * @property {() => Promise<void>} lose destroys the GPU's devices
 * @property {(milliseconds: number) => Promise<void>} sleep
 * @property {(path: string) => Promise<unknown>} tell the test's server
 * @property {(promise: Promise<unknown>) => Promise<string>} codeOf its error, or "ok"
 * @property {string[]} warnings
 */

/**
 * Runs a script in a page, with a GPU that can be lost.
 * @template T
 * @param {TestContext} t
 * @param {(tools: Tools) => Promise<T>} script
 * @param {string} [worker] a script of the worker
 * @returns {Promise<T>}
 */
async function inPage(t, script, worker = "") {
  const page = await pageWithWorkers(site, t, LOSES + worker);
  const serve = (/** @type {number} */ bytesPerSecond) => site.hub.parts("/m.gguf", MODEL, bytesPerSecond ? { bytesPerSecond } : {});
  serve(0);
  for (const [path, act] of /** @type {[string, () => void][]} */ ([
    ["/slow", () => void serve(SLOW)],
    ["/mend", () => void serve(0)],
    ["/break", () => void site.hub.answer("/m.gguf", status(404))],
    ["/swap", () => void site.hub.parts("/m.gguf", join(TEST_DATA, "tiny-quick_gelu.f32.gguf"))],
  ])) {
    site.own.answer(path, (_request, response) => {
      act();
      response.end();
    });
  }
  return page.evaluate(
    async ({ url, script }) => {
      const { ClipEncoder } = await import("/clip.js");
      /** @type {string[]} */
      const warnings = [];
      const sleep = (/** @type {number} */ milliseconds) => new Promise((resolve) => void setTimeout(resolve, milliseconds));
      const tools = {
        load: (/** @type {LoadOptions} */ options) => ClipEncoder.load(url, { device: "webgpu", keep: false, onWarning: ({ code }) => void warnings.push(code), ...options }),
        lose: window.loseGpu,
        sleep,
        tell: (/** @type {string} */ path) => fetch(path),
        codeOf: (/** @type {Promise<unknown>} */ promise) => promise.then(() => "ok", (error) => String(error.code)),
        warnings,
      };
      return new Function(`return (${script})`)()(tools);
    },
    { url: `${site.hub.origin}/m.gguf`, script: String(script) },
  );
}

test("a second device that is wrong: the processor takes over", TIMEOUT, async (t) => {
  const found = await inPage(
    t,
    async ({ load, lose, codeOf, warnings }) => {
      const clip = await load({});
      await lose();
      return { codes: [await codeOf(clip.embedText(["a"])), await codeOf(clip.embedText(["a"]))], device: clip.device.name, warnings };
    },
    `
    let devices = 0;
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      devices++;
      return request.call(this, descriptor);
    };
    const create = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, devices > 1 ? { ...descriptor, code: descriptor.code.replaceAll("0.70710678", "0.5") } : descriptor);
    };`,
  );
  assert.deepEqual(found, { codes: ["ok", "ok"], device: "wasm", warnings: ["not_on_gpu"] });
});

test("while a second tower comes and texts are embedded", TIMEOUT, async (t) => {
  const found = await inPage(t, async ({ load, lose, sleep, tell, codeOf, warnings }) => {
    await tell("/slow");
    const clip = await load({ towers: ["text"] });
    const [before] = (await clip.embedText(["a"])).data;
    const loading = codeOf(clip.loadTowers(["vision"]));
    await sleep(700);
    await lose();
    const codes = [await codeOf(clip.embedText(["a"])), await loading];
    const [after] = (await clip.embedText(["a"])).data;
    const { towers } = clip.info;
    return { codes, towers: [...towers].sort(), device: clip.device.name, warnings, isSame: JSON.stringify(before) === JSON.stringify(after) };
  });
  assert.deepEqual(found, { codes: ["ok", "ok"], towers: ["text", "vision"], device: "webgpu", warnings: [], isSame: true });
});

test("while a second tower comes, whose load is then aborted: the first one stays", TIMEOUT, async (t) => {
  const found = await inPage(t, async ({ load, lose, sleep, tell, codeOf }) => {
    await tell("/slow");
    const clip = await load({ towers: ["text"] });
    const abort = new AbortController();
    const loading = codeOf(clip.loadTowers(["vision"], { signal: abort.signal }));
    await sleep(500);
    await lose();
    await sleep(1000);
    abort.abort();
    const codes = [await loading, await codeOf(clip.embedText(["a"]))];
    await tell("/mend");
    codes.push(await codeOf(clip.loadTowers(["vision"])), await codeOf(clip.embedText(["a"])));
    return codes;
  });
  assert.deepEqual(found, ["aborted", "ok", "ok", "ok"]);
});

test("while the model's server fails: calls work again as soon as it does", TIMEOUT, async (t) => {
  const found = await inPage(t, async ({ load, lose, tell, codeOf }) => {
    const clip = await load({});
    await tell("/break");
    await lose();
    const codes = [await codeOf(clip.embedText(["a"])), await codeOf(clip.tokenize(["a"]))];
    await tell("/mend");
    codes.push(await codeOf(clip.embedText(["a"])), await codeOf(clip.tokenize(["a"])));
    return codes;
  });
  assert.deepEqual(found, ["http_status", "http_status", "ok", "ok"]);
});

test("while another model is put at its address: no vectors of both", TIMEOUT, async (t) => {
  const found = await inPage(t, async ({ load, lose, tell, codeOf }) => {
    const clip = await load({});
    await tell("/swap");
    await lose();
    return [await codeOf(clip.embedText(["a"])), await codeOf(clip.embedText(["a"]))];
  });
  assert.deepEqual(found, ["encoder_lost", "encoder_lost"]);
});
