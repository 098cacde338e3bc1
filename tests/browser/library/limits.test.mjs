// Limits and running out of memory in the browser: a call that asks for too much fails with its own code, and the next
// call works.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, before, describe, test } from "node:test";
import { LIMITS } from "../../../www/lib/shared/limits.js";
import { record } from "../../reliability/record.mjs";
import { REPOSITORY, Site, TEST_DATA } from "../support/browser.mjs";
import { apiPage } from "../support/loads.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { JSHandle, Page } from "playwright-core" */
/** @import { ClipError } from "../../../www/clip.js" */

/** @typedef {JSHandle<(() => Promise<unknown>)[]>} Calls */

const PAGE_BYTES = 65_536;
const CHUNK = Buffer.alloc(65_536);

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

test("the documentation's table agrees with the code", () => {
  const rows = readFileSync(join(REPOSITORY, "docs/limits.md"), "utf8").matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm);
  const table = [...rows].map(([, name, most]) => [name, Number(most?.replaceAll(",", ""))]);
  assert.deepEqual(table, Object.entries(LIMITS));
});

/**
 * The results of calls to an encoder that was loaded with limits.
 * @param {Page} page
 * @param {object} limits
 * @param {Calls} [calls] use `window.clip`, and run one after the other; none if absent
 * @returns {Promise<string[]>} the code and the message of each that fails, `ok` of others
 */
async function outcomes(page, limits, calls) {
  return page.evaluate(
    async ({ limits, calls = [] }) => {
      const told = (/** @type {Promise<unknown>} */ call) =>
        call.then(
          () => "ok",
          ({ code, statusCode, message }) => `${code} ${statusCode}: ${message}`,
        );
      try {
        window.clip = await window.ClipEncoder.load("models/demo.gguf", { threads: 1, limits });
        const outcomes = [];
        for (const call of calls) outcomes.push(await told(call()));
        window.clip.close();
        return outcomes;
      } catch (error) {
        return [await told(Promise.reject(error))];
      }
    },
    { limits, calls },
  );
}

describe("limits", () => {
  test("are lowered and raised by name, and the encoder keeps working after a call exceeds one", async (t) => {
    const page = await apiPage(site, t);
    const calls = await page.evaluateHandle(() => [
      () => window.clip.embedText(["a cat"]),
      () => window.clip.embedText(["a dog and a cat"]),
      () => window.clip.tokenize(["a dog and a cat"]),
      () => window.clip.embedImage([window.cat]),
      () => window.clip.embedText(["a cat"]),
    ]);
    assert.deepEqual(await outcomes(page, {}, calls), Array(5).fill("ok"));
    const [first, text, tokens, image, last] = await outcomes(page, { textBytes: 5, pixels: 10 }, calls);
    assert.deepEqual([first, last], ["ok", "ok"]);
    assert.match(String(text), /^limit_exceeded 413: .*15 .*limit of 5.*raise the limit textBytes/);
    assert.equal(tokens, text);
    assert.match(String(image), /^image_too_large 413: .*limit of 10.*raise the limit pixels/);
    const images = await page.evaluateHandle(() => [() => window.clip.embedImage([window.cat])]);
    const [file] = await outcomes(page, { imageBytes: 10 }, images);
    assert.match(String(file), /^image_too_large 413: .*limit of 10; scale it down first, or raise the limit imageBytes/);
    const [model] = await outcomes(page, { layers: 1 });
    assert.match(String(model), /^limit_exceeded 413: .*limit of 1.*raise the limit layers/);
  });

  test("apply to responses that do not end and have no length", async (t) => {
    const page = await apiPage(site, t);
    let sent = 0;
    function* chunks() {
      for (; ; sent += CHUNK.length) yield CHUNK;
    }
    const endless = (/** @type {string} */ path) =>
      site.hub.answer(path, async (_request, response) => {
        response.writeHead(200, { "content-type": "application/octet-stream" });
        await pipeline(Readable.from(chunks()), response).catch(() => {}); // the client closes the connection
      });
    const image = endless("/image.png");
    endless("/checkpoint/config.json");
    const weights = site.hub.parts("/checkpoint/model.safetensors", join(TEST_DATA, "tiny-hf/model.safetensors"));
    const calls = await page.evaluateHandle(
      ({ image, weights }) => [
        () => window.clip.embedImage([image]),
        () => window.ClipEncoder.load(weights, { threads: 1, keep: false, limits: { jsonBytes: 100_000 } }),
        () => window.clip.embedImage([window.cat]),
      ],
      { image, weights },
    );
    const [picture, json, next] = await outcomes(page, { imageBytes: 1_000_000 }, calls);
    assert.match(String(picture), /^image_too_large 413: \d+ bytes of .*image\.png are more than the limit of 1000000; scale it down first, or raise the limit imageBytes/);
    assert.match(String(json), /^limit_exceeded 413: \d+ bytes of .*config\.json are more than the limit of 100000; use another, or raise the limit jsonBytes/);
    assert.equal(next, "ok");
    for (const path of ["/image.png", "/checkpoint/config.json"]) await waitUntil(`${path} is cut off`, () => site.hub.cutOff.includes(path));
    assert.ok(sent < 64 << 20, `${sent} bytes went out`);
    record({ section: "inputs", what: "responses that do not end", tried: "for an image, and beside a checkpoint's weights", outcome: "the connection is cut at the limit" });
  });

  test("do not hide a connection that ends too early while an image is loaded", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.answer("/cut.png", async (_request, response) => {
      response.writeHead(200, { "content-type": "image/png", "content-length": 2 * CHUNK.length });
      response.write(CHUNK, () => response.destroy());
    });
    const calls = await page.evaluateHandle((url) => [() => window.clip.embedImage([url]), () => window.clip.embedImage([window.cat])], url);
    const [cut, next] = await outcomes(page, {}, calls);
    assert.match(String(cut), /^network 502: the connection ended after \d+ bytes of .*cut\.png; try again$/);
    assert.equal(next, "ok");
  });

  test("that do not exist or are not numbers are refused", async (t) => {
    const page = await apiPage(site, t);
    for (const limits of [{ bytes: 1 }, { pixels: -1 }, { pixels: 1.5 }, { pixels: "many" }, { toString: 1 }]) {
      const [outcome] = await outcomes(page, limits);
      assert.match(String(outcome), /^invalid_input 400/, JSON.stringify(limits));
    }
  });
});

/**
 * A module with a maximum memory of so many pages more than its initial memory.
 * @param {string} path
 * @param {number} more
 */
function moduleWithin(path, more) {
  const module = readFileSync(join(REPOSITORY, "www", path));
  const number = (/** @type {number} */ at) => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = Number(module[at++]);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return { value, at };
    }
  };
  const bytes = (/** @type {number} */ value) => {
    const list = [];
    for (; value > 127; value = Math.floor(value / 128)) list.push((value % 128) + 128);
    return [...list, value];
  };
  for (let at = 8; at < module.length; ) {
    const { value: size, at: body } = number(at + 1);
    if (module[at] === 5) {
      const first = number(body + 2).value; // after the number of memories, which is one, and its flags
      const limits = [1, 1, ...bytes(first), ...bytes(first + more)];
      return Buffer.concat([module.subarray(0, at), Buffer.from([5, ...bytes(limits.length), ...limits]), module.subarray(body + size)]);
    }
    at = body + size;
  }
  throw new Error("the module has no memory");
}

describe("running out of memory", () => {
  test("is an error at every size of memory, and the next call works", async (t) => {
    const page = await apiPage(site, t);
    await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(4000, 3000);
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
      const gradient = context.createLinearGradient(0, 0, 4000, 3000);
      for (let i = 0; i <= 20; i++) gradient.addColorStop(i / 20, `hsl(${i * 77} 80% 50%)`);
      context.fillStyle = gradient;
      context.fillRect(0, 0, 4000, 3000);
      window.images = [await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 }), window.cat];
    });
    const tryWith = async (/** @type {number} */ megabytes) => {
      for (const build of ["relaxed", "simd128", "pictures"]) {
        const path = `pkg/${build}/clip_wasm_bg.wasm`;
        const wasm = moduleWithin(path, (megabytes * 2 ** 20) / PAGE_BYTES);
        site.own.answer(`/${path}`, (_request, response) => void response.writeHead(200, { "content-type": "application/wasm" }).end(wasm));
      }
      return page.evaluate(async () => {
        try {
          const clip = await window.ClipEncoder.load("models/demo.gguf", { threads: 1 });
          const outcomes = [];
          for (const image of window.images) {
            const outcome = clip.embedImage([image]).then(
              ({ data }) => String(data[0]),
              ({ code }) => String(code),
            );
            outcomes.push(await outcome);
          }
          clip.close();
          const [large = "", small = ""] = outcomes;
          return { load: "ok", large, small };
        } catch (error) {
          return { load: /** @type {ClipError} */ (error).code, large: "", small: "" };
        }
      });
    };
    const enough = await tryWith(200);
    assert.equal(enough.load, "ok");
    assert.match(enough.large, /^-?\d/);
    const codes = [];
    let loads = 0;
    for (const megabytes of [1, 3, 5, 8, 12, 16, 24, 32, 40, 48, 64]) {
      const { load, large, small } = await tryWith(megabytes);
      const label = `${megabytes} MB`;
      t.diagnostic(`${label}: ${load}, ${large.slice(0, 12)}`);
      if (load !== "ok") {
        assert.equal(load, "low_memory", label);
        continue;
      }
      loads++;
      if (large !== enough.large) assert.equal(large, "low_memory", label);
      codes.push(large === enough.large ? "ok" : large);
      assert.equal(small, enough.small, `${label}: the call after ${large}`);
    }
    assert.ok(codes.includes("low_memory") && codes.at(-1) === "ok", String(codes));
    const failed = codes.filter((code) => code !== "ok").length;
    record({
      section: "faults",
      what: "WebAssembly runs out of memory",
      tried: `a photo of 12 megapixels in 11 sizes of memory: ${11 - loads} too small for the model, ${failed} for the photo`,
      outcome: "low_memory each time, and the next image gives its vector",
    });
  });
});
