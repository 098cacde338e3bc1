// What OpenAI's interface takes as inputs, and OpenAI's own client against it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { answerRequest } from "../../www/endpoint.js";
import { ClipEncoder } from "../../www/node.js";
import { FIXTURES, REPOSITORY, TINY_MODEL } from "../browser/support/browser.mjs";
import { StaticServer } from "../browser/support/server.mjs";

const CAT = readFileSync(join(FIXTURES, "cat.png"));
const BASE64 = CAT.toString("base64");
const ADDRESS = "https://example.org/cat.png";

/** @type {ClipEncoder} */
let clip;
/** @type {StaticServer} */
let server;
/** @type {number[]} */
let ofText;
/** @type {number[]} */
let ofCat;
before(async () => {
  clip = await ClipEncoder.load(TINY_MODEL);
  server = await new StaticServer(FIXTURES).start();
  ofText = (await clip.embedText(["a cat"])).data[0] ?? [];
  ofCat = (await clip.embedImage([CAT])).data[0] ?? [];
});
after(async () => {
  clip.close();
  await server.stop();
});

/**
 * @param {string} path
 * @param {unknown} body
 * @param {import("../../www/endpoint.js").EndpointOptions} [options]
 */
async function post(path, body, options) {
  const request = new Request(`https://site.test/${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const response = await answerRequest(request, clip, options);
  return { status: response.status, json: await response.json() };
}

describe("an input is", () => {
  /** @type {[what: string, input: any, wanted: () => number[]][]} */
  const cases = [
    ["a text", "a cat", () => ofText],
    ["an object with a text", { text: "a cat" }, () => ofText],
    ["a part of a message, with a text", { type: "text", text: "a cat" }, () => ofText],
    ["an object whose other fields are null", { text: "a cat", image: null, image_url: null }, () => ofText],
    ["a data: URL", `data:image/png;base64,${BASE64}`, () => ofCat],
    ["a data: URL without a type", `data:;base64,${BASE64}`, () => ofCat],
    ["a data: URL of any bytes", `data:application/octet-stream;base64,${BASE64}`, () => ofCat],
    ["an object with an image in base64", { image: BASE64 }, () => ofCat],
    ["an object with an image as a data: URL", { image: `data:image/png;base64,${BASE64}` }, () => ofCat],
    ["an object with an image_url", { image_url: `data:image/png;base64,${BASE64}` }, () => ofCat],
    ["a part of a message, with an image", { type: "image_url", image_url: { url: `data:image/png;base64,${BASE64}` } }, () => ofCat],
  ];
  for (const [what, input, wanted] of cases) {
    test(what, async () => {
      for (const sent of [input, [input]]) {
        const { status, json } = await post("v1/embeddings", { input: sent });
        assert.equal(status, 200, JSON.stringify(json));
        assert.deepEqual(json.data[0].embedding, wanted());
      }
    });
  }

  test("a text that only begins like a URL", async () => {
    for (const text of ["data: the new oil", "data:,", "https is a protocol", "see https://example.org/cat.png"]) {
      const { json } = await post("v1/embeddings", { input: text });
      assert.deepEqual(json.data?.[0].embedding, (await clip.embedText([text])).data[0], text);
    }
  });

  test("an address, where images are fetched", async () => {
    const address = `${server.origin}/cat.png`;
    for (const input of [address, { image: address }, { image_url: address }, { image_url: { url: address } }]) {
      const { status, json } = await post("v1/embeddings", { input }, { fetchImages: true });
      assert.deepEqual(json.data?.[0].embedding, ofCat, JSON.stringify([status, json]));
    }
    const { status, json } = await post("v1/embeddings", { input: `${server.origin}/missing.png` }, { fetchImages: true });
    assert.deepEqual([status, json.error.code], [502, "http_status"]);
  });
});

test("fields that are null are absent", async () => {
  const { status, json } = await post("v1/embeddings", { input: "a cat", model: null, encoding_format: null, dimensions: null, user: null });
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual(json.data[0].embedding, ofText);
  assert.equal((await post("api/predict/nlp/a/b", { inputs: ["a cat"], params: null })).status, 200);
});

describe("is refused", () => {
  /** @type {[input: any, message: RegExp][]} */
  const cases = [
    [null, /^input is missing/],
    [ADDRESS, /^input is the address of an image, which this server does not fetch: send the image as a data: URL, or \{"text": …\} if it is a text$/],
    [["a", { image_url: ADDRESS }], /^input 1 is the address of an image, which this server does not fetch: send the image as a data: URL$/],
    [`data:text/plain;base64,${BASE64}`, /^input is a data: URL of text\/plain, not of an image/],
    ["data:image/png;base64,!", /^the image of input is a data: URL whose base64 cannot be decoded/],
    [{ image: "cat.png" }, /^the image of input is neither a data: URL, nor an https: address, nor base64/],
    [{ image: 7 }, /^the image of input is not a string/],
    [{ text: 7 }, /^the text of input is not a string/],
    [{ text: "a", image: BASE64 }, /^input must have one of text, image and image_url, but has 2/],
    [{}, /^input must have one of text, image and image_url, but has 0/],
    [[null], /^input 0 is not a string/],
    [[true], /^input 0 is not a string/],
  ];
  for (const [input, message] of cases) {
    test(JSON.stringify(input).slice(0, 60), async () => {
      const { status, json } = await post("v1/embeddings", { input });
      assert.deepEqual([status, json.error.param], [400, "input"]);
      assert.match(json.error.message, message);
    });
  }
});

test("an input that fails is named by its number in the request", async () => {
  const broken = { image: Buffer.from("no image").toString("base64") };
  for (const [input, message] of /** @type {[any, RegExp][]} */ ([
    [["a", { image: BASE64 }, "b", broken], /^input 3: this is text/],
    [[broken, "a"], /^input 0: this is text/],
    [["a", { image: BASE64 }, { text: "a".repeat(1_000_001) }], /^input 2: 1000001 bytes of a text/],
    [broken, /^this is text/],
  ])) {
    const { json } = await post("v1/embeddings", { input });
    assert.match(json.error.message, message);
  }
});

test("the models are listed", async () => {
  const response = await answerRequest(new Request("https://site.test/v1/models"), clip);
  const json = await response.json();
  assert.deepEqual([response.status, json.object, json.data.length, json.data[0].object], [200, "list", 1, "model"]);
  const wrong = await answerRequest(new Request("https://site.test/v1/models", { method: "POST" }), clip);
  assert.deepEqual([wrong.status, wrong.headers.get("allow"), (await wrong.json()).error.type], [405, "GET", "invalid_request_error"]);
});

test("a model is retrieved by its name", async () => {
  const { data: [model] } = await (await answerRequest(new Request("https://site.test/v1/models"), clip)).json();
  const get = async (/** @type {string} */ name) => {
    const response = await answerRequest(new Request(`https://site.test/v1/models/${name}`), clip);
    return { status: response.status, json: await response.json() };
  };
  assert.deepEqual(await get(encodeURIComponent(model.id)), { status: 200, json: model });
  for (const name of ["gpt-4", "openai%2Fclip-vit", "%E0%A4%A"]) {
    const message = `there is no model ${name} here: the only one is ${model.id}`;
    assert.deepEqual(await get(name), { status: 404, json: { error: { message, type: "invalid_request_error", param: "model", code: "model_not_found" } } });
  }
});

test("OpenAI's client gets vectors, models and errors", async () => {
  const { default: OpenAI } = await import(pathToFileURL(join(REPOSITORY, "examples/node_modules/openai/index.mjs")).href);
  const fetch = (/** @type {string} */ url, /** @type {RequestInit} */ init) => answerRequest(new Request(url, init), clip);
  const client = new OpenAI({ baseURL: "https://site.test/v1", apiKey: "any", maxRetries: 0, fetch });
  const { data: models } = await client.models.list();
  const model = models[0].id;
  assert.deepEqual(await client.models.retrieve(model), models[0]);
  const close = (/** @type {number[]} */ given, /** @type {number[]} */ wanted) => {
    assert.equal(given.length, wanted.length);
    for (const [i, value] of given.entries()) assert.ok(Math.abs(value - Number(wanted[i])) < 1e-6);
  };
  for (const encoding_format of [undefined, "float", "base64"]) {
    const { data, usage } = await client.embeddings.create({ model, input: ["a cat", `data:image/png;base64,${BASE64}`], encoding_format });
    if (encoding_format === "base64" && typeof data[0].embedding === "string") continue; // asked for explicitly, it is not decoded
    close(data[0].embedding, ofText);
    close(data[1].embedding, ofCat);
    assert.equal(usage.prompt_tokens, 4);
  }
  await assert.rejects(client.embeddings.create({ model, input: [] }), ({ status, code, param }) => {
    assert.deepEqual([status, code, param], [400, "invalid_input", "input"]);
    return true;
  });
});
