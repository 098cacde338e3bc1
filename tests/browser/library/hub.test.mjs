// Models by their names on the Hub: which file is loaded, private and gated models, mirrors, what is kept, and errors.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Site, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { FakeHub, STRANGER, TOKEN } from "../support/fake-hub.mjs";
import { openApi } from "../support/loads.mjs";

/** @import { LoadOptions } from "../../../www/lib/client/options.js" */

/** @type {Site} */
let site;
/** @type {FakeHub} */
let hub;
before(async () => {
  site = await Site.open();
  hub = await new FakeHub().start();
});
after(async () => {
  await site.close();
  await hub.stop();
});

/** @param {import("node:test").TestContext} t */
async function emptyPage(t) {
  hub.reset();
  hub.repositories = {
    "maker/clip": { files: { "clip_ggml-model-q8_0.gguf": TINY_MODEL, "README.md": Buffer.from("# A model") } },
    "maker/checkpoint": { files: folder("tiny-hf"), config: { model_type: "clip" } },
    "maker/open_clip": { files: folder("tiny-open_clip") },
    "maker/private": { files: { "model-q8_0.gguf": TINY_MODEL }, visibility: "private" },
    "maker/gated": { files: folder("tiny-hf"), visibility: "gated" },
    "maker/pinned": { files: { "model-q8_0.gguf": TINY_MODEL }, revisions: ["v1", "refs/pr/3"] },
    "xenova/clip": { files: { "config.json": Buffer.from("{}"), "onnx/model.onnx": Buffer.from("onnx") }, cardData: { base_model: "maker/clip" } },
    "maker/nothing": { files: { "README.md": Buffer.from("# Nothing") } },
    "maker/llama": { files: { "llama-q8_0.gguf": Buffer.concat([Buffer.from("GGUF"), Buffer.from([3]), Buffer.alloc(19)]) } },
  };
  const page = await site.emptyPage(t);
  await openApi(page);
  return page;
}

/**
 * A checkpoint of the test data, as a repository's files.
 * @param {string} name
 * @returns {Record<string, string>}
 */
function folder(name) {
  const files = name === "tiny-hf" ? ["config.json", "model.safetensors", "tokenizer.json"] : ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"];
  return Object.fromEntries(files.map((file) => [file, join(TEST_DATA, name, file)]));
}

/**
 * What a load gives: the URL that was loaded and a vector, or the error.
 * @param {import("playwright-core").Page} page
 * @param {string} source
 * @param {LoadOptions} [options]
 */
function load(page, source, options = {}) {
  return page.evaluate(
    async ({ source, options }) => {
      try {
        const clip = await window.ClipEncoder.load(source, options);
        const { data } = await clip.embedText(["a cat"]);
        clip.close();
        return { url: clip.info.source, size: clip.info.size, vector: data[0] };
      } catch (/** @type {any} */ error) {
        return { code: error.code, message: error.message };
      }
    },
    { source, options: { host: hub.origin, activation: /** @type {const} */ ("gelu"), ...options } },
  );
}

describe("a model is loaded by", () => {
  /** @type {[source: string, url: string, options?: LoadOptions][]} */
  const names = [
    ["maker/clip", "maker/clip/resolve/main/clip_ggml-model-q8_0.gguf"],
    ["maker/clip/clip_ggml-model-q8_0.gguf", "maker/clip/resolve/main/clip_ggml-model-q8_0.gguf"],
    ["hf.co/maker/clip", "maker/clip/resolve/main/clip_ggml-model-q8_0.gguf"],
    ["https://huggingface.co/maker/clip/blob/main/clip_ggml-model-q8_0.gguf", "maker/clip/resolve/main/clip_ggml-model-q8_0.gguf"],
    ["maker/checkpoint", "maker/checkpoint/resolve/main/model.safetensors"],
    ["maker/open_clip", "maker/open_clip/resolve/main/open_clip_model.safetensors"],
    ["maker/private", "maker/private/resolve/main/model-q8_0.gguf", { token: TOKEN }],
    ["maker/gated", "maker/gated/resolve/main/model.safetensors", { token: TOKEN }],
    ["maker/pinned@v1", "maker/pinned/resolve/v1/model-q8_0.gguf"],
    ["maker/pinned", "maker/pinned/resolve/refs%2Fpr%2F3/model-q8_0.gguf", { revision: "refs/pr/3" }],
  ];
  for (const [source, url, options] of names) {
    test(`${source} ${options ? JSON.stringify(options) : ""}`, async (t) => {
      const page = await emptyPage(t);
      const wanted = await load(page, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
      const loaded = await load(page, source, options);
      assert.equal(loaded.url, `${hub.origin}/${url}`, loaded.message);
      assert.deepEqual(loaded.vector, wanted.vector);
      assert.deepEqual(hub.tokensAtStore.filter(Boolean), [], "the token is for the Hub alone");
    });
  }

  test("its name, with one tower of a file whose other parts are not fetched", async (t) => {
    const page = await emptyPage(t);
    const { url, message } = await load(page, "maker/clip", { towers: ["text"] });
    assert.ok(url, message);
    assert.ok(hub.stored.length > 0);
  });
});

test("a token goes to its host alone", async (t) => {
  const page = await emptyPage(t);
  /** @type {(string | undefined)[]} */
  const tokens = [];
  const url = site.hub.answer("/elsewhere.gguf", (request, response) => {
    tokens.push(request.headers.authorization);
    response.writeHead(404).end();
  });
  const { code } = await load(page, url, { token: TOKEN });
  assert.equal(code, "http_status");
  assert.deepEqual(tokens.filter(Boolean), []);
  assert.ok(tokens.length > 0);
});

test("a file of the site comes before a model of the same name on the Hub", async (t) => {
  const page = await emptyPage(t);
  site.own.answer("/maker/clip/here.gguf", (_request, response) => void response.writeHead(200, { "content-type": "application/octet-stream" }).end("no model"));
  const { code } = await load(page, "maker/clip/here.gguf", { host: undefined });
  assert.equal(code, "not_a_model");
  assert.ok(site.own.requests.includes("/maker/clip/here.gguf"));
});

test("a kept model needs neither the listing nor the file again, and no network", async (t) => {
  const page = await emptyPage(t);
  const first = await load(page, "maker/clip");
  const converted = await load(page, "maker/checkpoint");
  assert.ok(first.url && converted.url, first.message ?? converted.message);
  hub.requests = [];
  hub.instead = (request) => request.destroy();
  assert.deepEqual(await load(page, "maker/clip"), first);
  assert.deepEqual(await load(page, "maker/checkpoint"), converted);
  assert.deepEqual(hub.requests, []);
  // Another type is not at hand, so the Hub is asked.
  assert.equal((await load(page, "maker/checkpoint", { type: "q4_0" })).code, "network");
});

describe("nothing is loaded or kept, and the error says what to do, for", () => {
  /** @type {[what: string, source: string, options: LoadOptions, code: string, message: RegExp][]} */
  const cases = [
    ["a name that does not exist", "maker/clap", {}, "model_not_found", /there is no model maker\/clap on .+ or it is private: check its name, or pass a token/],
    ["a private model without a token", "maker/private", {}, "model_not_found", /or it is private/],
    ["a private model's file without a token", "maker/private/model-q8_0.gguf", {}, "model_not_found", /or it is private/],
    ["a wrong token", "maker/private", { token: "hf_wrong" }, "access_denied", /refuses the token for maker\/private: it is wrong, has expired/],
    ["a token that is none", "maker/private", { token: "hf wrong" }, "invalid_input", /token is not a token/],
    ["a gated model without a token", "maker/gated", {}, "access_denied", /is given only to those who accept its terms: do so at .+\/maker\/gated and pass a token/],
    ["a gated model and another's token", "maker/gated", { token: STRANGER }, "access_denied", /do so at .+\/maker\/gated with the account of this token/],
    ["a revision that is gone", "maker/pinned@v0", {}, "model_not_found", /maker\/pinned on .+ has no such revision \(.+v0/],
    ["a file that is not in the repository", "maker/clip/other.gguf", {}, "http_status", /other\.gguf answered 404/],
    ["ONNX only", "xenova/clip", {}, "unsupported_model", /has ONNX files only.+: maker\/clip$/],
    ["no weights", "maker/nothing", {}, "not_a_model", /maker\/nothing has no weights/],
    ["a GGUF of something else", "maker/llama", {}, "unsupported_model", /./],
    ["a type that is not there", "maker/clip", { type: "q4_0" }, "invalid_input", /maker\/clip has no GGUF of type q4_0; it has q8_0/],
    ["a host that is none", "maker/clip", { host: "a mirror" }, "invalid_input", /host is "a mirror"/],
  ];
  for (const [what, source, options, code, message] of cases) {
    test(what, async (t) => {
      const page = await emptyPage(t);
      const failed = await load(page, source, options);
      assert.equal(failed.code, code, failed.message);
      assert.match(String(failed.message), message);
      assert.deepEqual(await page.evaluate(() => window.keptModels()), []);
    });
  }

  /** @type {[what: string, type: string, body: string][]} */
  const bodies = [
    ["a listing that is HTML", "text/html", "<!doctype html><title>Sign in</title>"],
    ["a listing without files", "application/json", '{"id": "maker/clip"}'],
    ["a listing that is null", "application/json", "null"],
  ];
  for (const [what, type, body] of bodies) {
    test(what, async (t) => {
      const page = await emptyPage(t);
      hub.instead = (_request, response) => void response.writeHead(200, { "content-type": type }).end(body);
      const { code, message } = await load(page, "maker/clip");
      assert.equal(code, "not_json", message);
      assert.match(String(message), /is http:.+ a mirror of the Hub\?/);
    });
  }

  test("a load that is aborted while the Hub is asked", async (t) => {
    const page = await emptyPage(t);
    hub.instead = () => {}; // answers never
    const code = await page.evaluate(async (host) => {
      const abort = new AbortController();
      const loading = window.ClipEncoder.load("maker/clip", { host, signal: abort.signal }).catch((error) => error.code);
      setTimeout(() => abort.abort(), 50);
      return loading;
    }, hub.origin);
    assert.equal(code, "aborted");
  });
});
