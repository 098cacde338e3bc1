// A model on a GPU: the same vectors as from the processor, and the processor where the GPU fails. Without a GPU at hand,
// SwiftShader takes its place.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PHOTOS, Site, SOFTWARE_GPU_FLAGS } from "../support/browser.mjs";
import { beginWorkersWith, HARDWARE, LOSES, pageWithWorkers } from "../support/gpu.mjs";
import { cosine } from "../support/vectors.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { LoadOptions } from "../../../www/clip.js" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open(SOFTWARE_GPU_FLAGS)));
after(() => site.close());

const PHOTO = readFileSync(join(PHOTOS, "coffee.png"), "base64");

/**
 * @param {number[][]} some
 * @param {number[][]} others
 */
function leastCosine(some, others) {
  assert.equal(some.length, others.length);
  return Math.min(...some.map((vector, i) => cosine(vector, /** @type {number[]} */ (others[i]))));
}

/**
 * Loads a model and embeds a text and an image.
 * @param {Page} page
 * @param {string} model
 * @param {LoadOptions} options
 */
function embed(page, model, options) {
  return page.evaluate(
    async ({ url, photo, options }) => {
      const { ClipEncoder } = await import("/clip.js");
      /** @type {string[]} */
      const warnings = [];
      const clip = await ClipEncoder.load(url, { ...options, onWarning: ({ code, message }) => void warnings.push(`${code}: ${message}`) });
      const first = clip.device;
      const image = Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0));
      const texts = await clip.embedText(["a photo of a cat", "", "two blue squares on grass ".repeat(20)]);
      const images = await clip.embedImage([image, image, image]);
      const { device } = clip;
      clip.close();
      return { first, device, warnings, vectors: [...texts.data, ...images.data] };
    },
    { url: model.startsWith("/") ? model : `${site.hub.origin}/${model}`, photo: PHOTO, options },
  );
}

const pageWith = (/** @type {TestContext} */ t, script = "") => pageWithWorkers(site, t, script);

test("a browser of 2023, without the adapter's name and without the Cache API", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t, "delete GPUAdapter.prototype.info; delete WorkerGlobalScope.prototype.caches;");
  const { device, warnings } = await embed(page, "tiny-gelu.q8_0.gguf", { device: "webgpu" });
  assert.deepEqual([device.name, device.adapter, warnings], ["webgpu", "an adapter without a name", []]);
});

for (const model of ["/models/demo.gguf", "tiny-quick_gelu.f32.gguf"]) {
  test(`${model} on the GPU and on the processor`, { timeout: 120_000 }, async (t) => {
    const page = await pageWith(t);
    const onGpu = await embed(page, model, { device: "webgpu" });
    assert.deepEqual(onGpu.warnings, []);
    assert.equal(onGpu.device.name, "webgpu");
    assert.match(String(onGpu.device.adapter), /\w/);
    const onCpu = await embed(page, model, { device: "wasm" });
    assert.equal(onCpu.device.name, "wasm");
    const least = leastCosine(onGpu.vectors, onCpu.vectors);
    assert.ok(least >= 0.99999, `cosine ${least}`);
  });
}

test("says how long the GPU takes for those that it computes together", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t);
  const told = await page.evaluate(
    async ({ photo }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load("/models/demo.gguf", { device: "webgpu" });
      const image = Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0));
      /** @type {{ tower: number, batch: number, total: number }[]} */
      const told = [];
      const onTimings = (/** @type {{ tower: number, batch: number, total: number }} */ timings) => void told.push(timings);
      await clip.embedText(["a", "b", "c"], { onTimings });
      await clip.embedImage([image], { onTimings });
      const { name } = clip.device;
      clip.close();
      return { name, told };
    },
    { photo: PHOTO },
  );
  assert.equal(told.name, "webgpu");
  assert.deepEqual(told.told.map(({ batch }) => batch), [3, 3, 3, 1]);
  for (const { tower, total } of told.told) assert.ok(tower > 0 && tower <= total, `${tower} of ${total} ms`);
});

describe("a processor computes instead, with the same vectors, and a warning that says why", () => {
  /**
   * @param {string} what
   * @param {RegExp} warning
   * @param {{ script: string, options?: LoadOptions }} fault
   */
  function fails(what, warning, { script, options = { device: "webgpu" } }) {
    test(what, { timeout: 120_000 }, async (t) => {
      const page = await pageWith(t, script);
      const { device, warnings, vectors } = await embed(page, "tiny-gelu.q8_0.gguf", options);
      assert.equal(device.name, "wasm");
      assert.equal(warnings.length, 1, String(warnings));
      assert.match(String(warnings[0]), warning);
      assert.match(String(warnings[0]), /^not_on_gpu: the processor computes, not the GPU: /);
      const plain = await embed(page, "tiny-gelu.q8_0.gguf", { device: "wasm" });
      assert.deepEqual(vectors, plain.vectors);
    });
  }

  fails("of an adapter that is none, if it is not asked for by name", /computes on the CPU/, { script: "", options: {} });
  fails("of an adapter that is null", /this browser offers no GPU/, { script: "GPU.prototype.requestAdapter = async () => null;" });
  fails("without WebGPU", /there is no WebGPU here/, { script: "delete WorkerNavigator.prototype.gpu;" });
  fails("if WebGPU is forbidden", /this browser offers no GPU/, { script: "GPU.prototype.requestAdapter = () => { throw new Error('blocked'); };" });
  fails("if products of many inputs are wrong", /wrong vectors/, {
    script: `
      const create = GPUDevice.prototype.createShaderModule;
      GPUDevice.prototype.createShaderModule = function (descriptor) {
        const code = descriptor.code.includes("TILE_ROWS = 64u") ? descriptor.code.replace("shift + biases", "0.5 * shift + biases") : descriptor.code;
        return create.call(this, { ...descriptor, code });
      };`,
  });
  fails("if the browser throws", /its module has stopped|not as we know it/, { script: "GPUDevice.prototype.createBindGroup = () => { throw new TypeError('not as we know it'); };" });
  fails("if every device dies", /the GPU/, {
    script: `
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = async function (descriptor) {
        const device = await request.call(this, descriptor);
        setTimeout(() => device.destroy(), 150);
        return device;
      };`,
  });
  fails("if the device is refused", /does not start/, { script: "GPUAdapter.prototype.requestDevice = async () => { throw new Error('no device'); };" });
  fails("if a shader does not compile", /./, {
    script: `
      const create = GPUDevice.prototype.createShaderModule;
      GPUDevice.prototype.createShaderModule = function (descriptor) { return create.call(this, { ...descriptor, code: "no WGSL" }); };`,
  });
  fails("if memory runs out", /memory/, {
    script: `
      const create = GPUDevice.prototype.createBuffer;
      let made = 0;
      GPUDevice.prototype.createBuffer = function (descriptor) {
        if (++made === 20) this.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error: new GPUOutOfMemoryError("none left") }));
        return create.call(this, descriptor);
      };`,
  });
});

describe("a device that is lost", () => {
  test("is made anew once, and then the processor computes; no call fails", { timeout: 120_000 }, async (t) => {
    const page = await pageWith(t, LOSES);
    const { devices, warnings, vectors } = await page.evaluate(async (url) => {
      const { ClipEncoder } = await import("/clip.js");
      /** @type {string[]} */
      const warnings = [];
      const clip = await ClipEncoder.load(url, { device: "webgpu", onWarning: ({ code }) => void warnings.push(code) });
      const devices = [];
      const vectors = [];
      for (let losses = 0; losses < 3; losses++) {
        vectors.push((await clip.embedText(["a photo of a cat"])).data[0]);
        devices.push(clip.device.name);
        await window.loseGpu();
      }
      return { devices, warnings, vectors: /** @type {number[][]} */ (vectors) };
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.deepEqual(devices, ["webgpu", "webgpu", "wasm"]);
    assert.deepEqual(warnings, ["not_on_gpu"]);
    const least = leastCosine(vectors.slice(1), vectors.slice(0, 2));
    assert.ok(least >= 0.99999, `cosine ${least}`);
  });
});

test("a GPU that is wrong is not used, and at the next visit its module is not fetched", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t, `
    const create = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, { ...descriptor, code: descriptor.code.replaceAll("0.70710678", "0.5") });
    };`);
  const first = await embed(page, "/models/demo.gguf", { device: "webgpu" });
  assert.match(String(first.warnings), /^not_on_gpu: the processor computes, not the GPU: this GPU gives wrong vectors: .+ cosine 0\.\d+/);
  assert.equal(first.device.name, "wasm");
  const plain = await embed(page, "/models/demo.gguf", { device: "wasm" });
  assert.deepEqual(first.vectors, plain.vectors);
  site.own.requests.length = 0;
  const { warnings } = await embed(page, "/models/demo.gguf", { device: "webgpu" });
  assert.match(String(warnings), /wrong vectors.+\(found at an earlier visit\)$/);
  assert.deepEqual(site.own.requests.filter((path) => path.includes("/pkg/webgpu/")), []);
});

/** A worker's script in which a GPU computes nothing until the race is over, when towers are made. */
const FAST = `
  let isRace = true;
  const create = GPUDevice.prototype.createComputePipeline;
  GPUDevice.prototype.createComputePipeline = function (descriptor) {
    isRace &&= !descriptor.label.startsWith("LayerNorm");
    return create.call(this, descriptor);
  };
  const dispatch = GPUComputePassEncoder.prototype.dispatchWorkgroups;
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...groups) {
    if (!isRace) dispatch.apply(this, groups);
  };`;

describe("without being asked for, a GPU", () => {
  const fetched = () => site.own.requests.filter((path) => path.includes("/pkg/webgpu/"));

  test("that is slower than the processor is not used, and at the next visit its module is not fetched", { timeout: 120_000 }, async (t) => {
    const page = await pageWith(t, HARDWARE);
    const slower = /^not_on_gpu: .*is slower than this processor: [\d.]+ ms instead of [\d.]+ for the same product/;
    const first = await embed(page, "tiny-gelu.q8_0.gguf", {});
    assert.match(String(first.warnings), slower);
    assert.equal(first.device.name, "wasm");
    assert.notEqual(fetched().length, 0);
    site.own.requests.length = 0;
    const second = await embed(page, "tiny-gelu.q8_0.gguf", {});
    assert.match(String(second.warnings), slower);
    assert.match(String(second.warnings), /\(found at an earlier visit\)$/);
    assert.deepEqual(fetched(), []);
    // If it is asked for, it computes nevertheless.
    const third = await embed(page, "tiny-gelu.q8_0.gguf", { device: "webgpu" });
    assert.deepEqual([third.device.name, third.warnings], ["webgpu", []]);
  });

  test("that is not slower is used, and at the next visit without a race", { timeout: 120_000 }, async (t) => {
    const page = await pageWith(t, HARDWARE + FAST);
    const first = await embed(page, "tiny-gelu.q8_0.gguf", {});
    assert.deepEqual([first.device.name, first.warnings], ["webgpu", []]);
    // Another race would be lost.
    beginWorkersWith(site, HARDWARE);
    const second = await embed(page, "tiny-gelu.q8_0.gguf", {});
    assert.deepEqual([second.device, second.warnings], [first.device, []]);
  });
});

test("a GPU that becomes wrong while it runs is found out, and the processor takes over", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t, `
    let isWrong = false;
    new BroadcastChannel("become wrong").onmessage = () => (isWrong = true);
    const write = GPUQueue.prototype.writeBuffer;
    GPUQueue.prototype.writeBuffer = function (buffer, at, data, ...rest) {
      return write.call(this, buffer, at, isWrong && buffer.label === "residual" ? new Uint8Array(data).fill(1) : data, ...rest);
    };`);
  const { devices, warnings, vectors } = await page.evaluate(async (url) => {
    const { ClipEncoder } = await import("/clip.js");
    /** @type {string[]} */
    const warnings = [];
    const clip = await ClipEncoder.load(url, { device: "webgpu", onWarning: ({ message }) => void warnings.push(message) });
    const texts = Array.from({ length: 400 }, (_, i) => String(i));
    const devices = [];
    const vectors = [];
    for (let calls = 0; calls < 4; calls++) {
      if (calls === 1) new BroadcastChannel("become wrong").postMessage("");
      vectors.push((await clip.embedText(texts)).data[399]);
      devices.push(clip.device.name);
    }
    return { devices, warnings, vectors: /** @type {number[][]} */ (vectors) };
  }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  assert.deepEqual(devices, ["webgpu", "webgpu", "wasm", "wasm"]);
  assert.equal(warnings.length, 1);
  assert.match(String(warnings[0]), /^the processor computes, not the GPU: this GPU gives wrong vectors: those of a known text/);
  const [first, second, third, fourth] = /** @type {[number[], number[], number[], number[]]} */ (vectors);
  assert.ok(cosine(first, second) < 0.999, "the GPU has not become wrong");
  assert.ok(leastCosine([third, fourth], [first, first]) >= 0.99999);
});

test("texts are embedded while the other tower is added", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t);
  const { device, warnings, towers } = await page.evaluate(async (url) => {
    const { ClipEncoder } = await import("/clip.js");
    /** @type {string[]} */
    const warnings = [];
    const clip = await ClipEncoder.load(url, { device: "webgpu", first: "text", onWarning: ({ message }) => void warnings.push(message) });
    let isLoaded = false;
    const loaded = clip.loaded.then(() => (isLoaded = true));
    while (!isLoaded) await clip.embedText(["a photo of a cat", "another"]);
    await loaded;
    return { device: clip.device.name, warnings, towers: clip.info.towers };
  }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  assert.deepEqual([device, warnings, [...towers].toSorted()], ["webgpu", [], ["text", "vision"]]);
});

test("two encoders side by side", { timeout: 120_000 }, async (t) => {
  const page = await pageWith(t);
  const same = await page.evaluate(async (url) => {
    const { ClipEncoder } = await import("/clip.js");
    const clips = await Promise.all([1, 2].map(() => ClipEncoder.load(url, { device: "webgpu" })));
    const texts = Array.from({ length: 40 }, (_, i) => `photo number ${i}`);
    const [one, other] = await Promise.all(clips.map((clip) => clip.embedText(texts)));
    for (const clip of clips) clip.close();
    return JSON.stringify(one) === JSON.stringify(other);
  }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  assert.ok(same);
});

test("a browser without WebGPU fetches nothing for it", async (t) => {
  const page = await pageWith(t, "delete WorkerNavigator.prototype.gpu;");
  site.own.requests.length = 0;
  const { device, warnings } = await embed(page, "tiny-gelu.q8_0.gguf", {});
  assert.deepEqual([device.name, warnings], ["wasm", []]);
  assert.deepEqual(site.own.requests.filter((path) => path.includes("webgpu")), []);
});

test("without a network, the page computes on the GPU too", { timeout: 120_000 }, async (t) => {
  const { page } = await site.visit(t);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  beginWorkersWith(site, HARDWARE + FAST);
  await page.reload();
  const onGpu = page.locator("#result-summary").filter({ hasText: / per input on GPU \(.+\)$/ });
  await onGpu.waitFor({ timeout: 60_000 });
  const isKept = () => page.evaluate(async () => (await (await caches.open("clip-wasm-page")).keys()).filter(({ url }) => url.includes("/pkg/webgpu/")).length);
  for (const end = Date.now() + 30_000; (await isKept()) < 2; ) {
    assert.ok(Date.now() < end, "the module is not kept");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await page.context().setOffline(true);
  await page.reload();
  await onGpu.waitFor({ timeout: 60_000 });
});
