// The hosted endpoint without a server: fetch requests from a page, as the endpoint's clients make them, and the same
// JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, REPOSITORY, Site } from "../support/browser.mjs";
import { StaticServer } from "../support/server.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */

const CAT = readFileSync(join(FIXTURES, "cat.png"));
const ROCKET = readFileSync(join(FIXTURES, "rocket.jpg"));
const AVIF = readFileSync(join(FIXTURES, "cat.avif"));
const TEXTS = ["a photo of a cat", "", "two blue squares on grass ".repeat(20)];
const NLP = "api/predict/nlp/project/key";
const FILE = "api/predict/file/project/key";
const OPENAI = "v1/embeddings";

/** @typedef {{ status: number, headers: Record<string, string>, json: any }} Answer */
/** @typedef {{ field: string, name?: string, base64?: string, text?: string }} Part of a form */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * The page with the tiny model, on its first visit, and the API's vectors for the same model.
 * @param {TestContext} t
 */
async function pageWithModel(t) {
  const clip = await site.newPage(t);
  await clip.loadTinyModel();
  await controlled(clip.page);
  return clip.page;
}

/** @param {Page} page */
async function controlled(page) {
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {unknown} json
 * @returns {Promise<Answer>}
 */
async function post(page, path, json) {
  return send(page, path, { method: "POST", headers: { "content-type": "application/json", key: "any" }, body: JSON.stringify(json) });
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {{ method?: string, headers?: Record<string, string>, body?: string }} init
 * @returns {Promise<Answer>}
 */
async function send(page, path, init) {
  return page.evaluate(
    async ({ path, init }) => {
      const response = await fetch(path, init);
      return { status: response.status, headers: Object.fromEntries(response.headers), json: await response.json() };
    },
    { path, init },
  );
}

/**
 * @param {Page} page
 * @param {Part[]} parts
 * @returns {Promise<Answer>}
 */
async function upload(page, parts) {
  return page.evaluate(
    async ({ path, parts }) => {
      const form = new FormData();
      for (const { field, name, base64, text } of parts) {
        if (text !== undefined) form.append(field, text);
        else form.append(field, new Blob([Uint8Array.from(atob(base64 ?? ""), (byte) => byte.charCodeAt(0))]), name);
      }
      const response = await fetch(path, { method: "POST", body: form });
      return { status: response.status, headers: Object.fromEntries(response.headers), json: await response.json() };
    },
    { path: FILE, parts },
  );
}

/**
 * The API's results on the same page.
 * @param {Page} page
 * @param {{ texts?: string[], images?: Buffer[], model?: string }} inputs
 * @returns {Promise<{ texts: any, images: any, ids: number[][] }>}
 */
async function expected(page, { texts = [], images = [], model = `${site.hub.origin}/tiny-gelu.q8_0.gguf` }) {
  return page.evaluate(
    async ({ model, texts, images }) => {
      const { ClipEncoder } = await import(/** @type {string} */ ("/clip.js"));
      const clip = await ClipEncoder.load(model);
      const files = images.map((base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)));
      const result = {
        texts: texts.length && (await clip.embedText(texts)),
        images: files.length && (await clip.embedImage(files)),
        ids: texts.length && (await clip.tokenize(texts)).map((/** @type {any} */ { ids }) => ids),
      };
      clip.close();
      return result;
    },
    { model, texts, images: images.map((image) => image.toString("base64")) },
  );
}

/** @param {Buffer} bytes @param {string} name @returns {Part} */
const filePart = (bytes, name) => ({ field: "predict_file", name, base64: bytes.toString("base64") });

/**
 * Another page of the same site, not the project's own.
 * @param {Page} page
 * @param {string} [path]
 */
async function otherPage(page, path = "/other.html") {
  site.own.answer(path, (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Other</title>"));
  const other = await page.context().newPage();
  await other.goto(site.own.origin + path);
  return other;
}

describe("api/predict", () => {
  test("nlp: a list of texts, on the first visit", async (t) => {
    const page = await pageWithModel(t);
    const { status, headers, json } = await post(page, NLP, { inputs: TEXTS });
    assert.equal(status, 200);
    assert.match(String(headers["content-type"]), /^application\/json/);
    assert.deepEqual(json, (await expected(page, { texts: TEXTS })).texts);
    assert.equal(site.own.requests.includes(`/${NLP}`), false, "the server has not seen it");
  });

  test("file: one image, and several, those that the browser decodes included", async (t) => {
    const page = await pageWithModel(t);
    const { images } = await expected(page, { images: [CAT, ROCKET, AVIF] });
    const one = await upload(page, [filePart(CAT, "cat.png")]);
    assert.deepEqual([one.status, one.json], [200, { data: images.data.slice(0, 1), status_code: 200 }]);
    const several = await upload(page, [filePart(CAT, "cat.png"), filePart(ROCKET, "r.jpg"), filePart(AVIF, "cat.avif")]);
    assert.deepEqual([several.status, several.json], [200, images]);
  });

  test("many requests at once each get their own response", async (t) => {
    const page = await pageWithModel(t);
    const texts = Array.from({ length: 24 }, (_, n) => `a photo of ${n} cats`);
    const want = (await expected(page, { texts })).texts.data;
    const answers = await Promise.all(texts.map((text) => post(page, NLP, { inputs: [text] })));
    assert.deepEqual(answers.map(({ json }) => json.data[0]), want);
  });

  test("on the second visit, isolated, with the built-in model and without a click", async (t) => {
    const page = await pageWithModel(t);
    await page.reload();
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    const { status, json } = await post(page, NLP, { inputs: ["a red star"] });
    assert.equal(status, 200);
    assert.deepEqual(json, (await expected(page, { texts: ["a red star"], model: "models/demo.gguf" })).texts);
  });

  test("after a reload that bypasses the service worker, as soon as it controls the page again", async (t) => {
    const page = await pageWithModel(t);
    const devtools = await page.context().newCDPSession(page);
    const loaded = page.waitForEvent("load");
    await devtools.send("Page.reload", { ignoreCache: true });
    await loaded;
    await controlled(page);
    assert.equal(await page.evaluate(() => crossOriginIsolated), false, "the document itself came past it");
    assert.equal((await post(page, NLP, { inputs: ["a red star"] })).status, 200);
  });

  test("for a worker of the page", async (t) => {
    const page = await pageWithModel(t);
    const script = `fetch(${JSON.stringify(NLP)}, { method: "POST", headers: { "content-type": "application/json" }, body: '{"inputs": ["a cat"]}' })
      .then((response) => response.json()).then((json) => postMessage(json));`;
    site.own.answer("/asking.js", (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(script));
    const json = await page.evaluate(() => new Promise((resolve) => (new Worker("/asking.js").onmessage = ({ data }) => resolve(data))));
    assert.deepEqual(json, (await expected(page, { texts: ["a cat"] })).texts);
  });

  test("in a subfolder, and nowhere else", async (t) => {
    const { page } = await site.newPage(t);
    const host = await new StaticServer(REPOSITORY).start();
    t.after(() => host.stop());
    await page.goto(`${host.origin}/www/`);
    await controlled(page);
    assert.equal((await post(page, `/www/${NLP}`, { inputs: ["a cat"] })).json.data.length, 1);
    const outside = await page.evaluate((path) => fetch(path, { method: "POST" }).then(({ status }) => status), `/${NLP}`);
    assert.equal(outside, 404);
    assert.ok(host.requests.includes(`/${NLP}`), "the server was asked");
  });
});

describe("v1/embeddings", () => {
  test("one string, and its usage in tokens", async (t) => {
    const page = await pageWithModel(t);
    const { texts, ids } = await expected(page, { texts: [String(TEXTS[0])] });
    const { status, json } = await post(page, OPENAI, { model: "clip", input: TEXTS[0] });
    assert.equal(status, 200);
    const name = await page.evaluate(async () => String(document.querySelector("#model-state")?.textContent));
    assert.ok(name.includes(json.model), `the model is called ${json.model}, and on the page: ${name}`);
    assert.deepEqual(json, {
      object: "list",
      data: [{ object: "embedding", index: 0, embedding: texts.data[0] }],
      model: json.model,
      usage: { prompt_tokens: 7, total_tokens: 7 },
    });
    assert.equal(ids[0]?.length, 7);
  });

  test("texts and images mixed, in their order; a truncated text counts as embedded", async (t) => {
    const page = await pageWithModel(t);
    const { texts, images, ids } = await expected(page, { texts: TEXTS, images: [CAT, ROCKET] });
    const base64 = `data:image/png;base64,${CAT.toString("base64")}`;
    const percent = `data:image/jpeg,${[...ROCKET].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")}`;
    const { json } = await post(page, OPENAI, { model: "clip", input: [TEXTS[0], base64, TEXTS[1], TEXTS[2], percent], user: "any" });
    const [a, b, c] = texts.data;
    assert.deepEqual(json.data.map((/** @type {any} */ { embedding }) => embedding), [a, images.data[0], b, c, images.data[1]]);
    assert.deepEqual(json.data.map((/** @type {any} */ { index }) => index), [0, 1, 2, 3, 4]);
    assert.equal(ids[2]?.length, 77);
    assert.equal(json.usage.prompt_tokens, ids.flat().length);
  });

  test("base64: the same components as little-endian f32", async (t) => {
    const page = await pageWithModel(t);
    const want = (await expected(page, { texts: TEXTS })).texts.data;
    const { json } = await post(page, OPENAI, { model: "clip", input: TEXTS, encoding_format: "base64", dimensions: 64 });
    const vectors = json.data.map((/** @type {any} */ { embedding }) => {
      const bytes = Buffer.from(embedding, "base64");
      return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
    });
    assert.deepEqual(vectors, want);
  });
});

describe("a bad request gets an error that says why", () => {
  const json = { "content-type": "application/json" };
  const form = { "content-type": "multipart/form-data; boundary=x" };
  /** @type {{ what: string, path: string, init: { method?: string, headers?: Record<string, string>, body?: string }, status: number, code: string, message: RegExp, param?: string | null }[]} */
  const cases = [
    { what: "GET", path: NLP, init: {}, status: 405, code: "method_not_allowed", message: /use POST/ },
    { what: "PUT", path: FILE, init: { method: "PUT", body: "{}" }, status: 405, code: "method_not_allowed", message: /PUT/ },
    { what: "a text without its type", path: NLP, init: { body: "{}" }, status: 415, code: "unsupported_media_type", message: /application\/json.*text\/plain/ },
    { what: "JSON for files", path: FILE, init: { headers: json, body: "{}" }, status: 415, code: "unsupported_media_type", message: /multipart\/form-data/ },
    { what: "half of a JSON", path: NLP, init: { headers: json, body: `{"inputs": [` }, status: 400, code: "invalid_input", message: /not JSON/ },
    { what: "a list", path: NLP, init: { headers: json, body: `["a cat"]` }, status: 400, code: "invalid_input", message: /not an object/ },
    { what: "no inputs", path: NLP, init: { headers: json, body: `{}` }, status: 400, code: "invalid_input", message: /inputs is not a list/ },
    { what: "inputs that are none", path: NLP, init: { headers: json, body: `{"inputs": []}` }, status: 400, code: "empty_input", message: /empty/ },
    { what: "a number for a text", path: NLP, init: { headers: json, body: `{"inputs": ["a", 3]}` }, status: 400, code: "invalid_input", message: /input 1 is a number/ },
    { what: "a form that is none", path: FILE, init: { headers: form, body: "no form" }, status: 400, code: "invalid_input", message: /boundary/ },
    { what: "no input", path: OPENAI, init: { headers: json, body: `{"model": "clip"}` }, status: 400, code: "invalid_input", message: /input is not a string/, param: "input" },
    { what: "token ids", path: OPENAI, init: { headers: json, body: `{"input": [320, 1125]}` }, status: 400, code: "invalid_input", message: /input 0 is token ids.*send the text/, param: "input" },
    { what: "lists of token ids", path: OPENAI, init: { headers: json, body: `{"input": ["a", [320]]}` }, status: 400, code: "invalid_input", message: /input 1 is token ids/, param: "input" },
    { what: "too many inputs", path: OPENAI, init: { headers: json, body: JSON.stringify({ input: Array(2049).fill("a") }) }, status: 400, code: "invalid_input", message: /2049.*2048/, param: "input" },
    { what: "other dimensions", path: OPENAI, init: { headers: json, body: `{"input": "a", "dimensions": 32}` }, status: 400, code: "invalid_input", message: /must be 64/, param: "dimensions" },
    { what: "another encoding", path: OPENAI, init: { headers: json, body: `{"input": "a", "encoding_format": "int8"}` }, status: 400, code: "invalid_input", message: /base64/, param: "encoding_format" },
    { what: "base64 that is none", path: OPENAI, init: { headers: json, body: `{"input": "data:image/png;base64,!"}` }, status: 400, code: "invalid_input", message: /cannot be decoded/, param: "input" },
    { what: "a picture that is none", path: OPENAI, init: { headers: json, body: `{"input": "data:image/png;base64,AAAA"}` }, status: 415, code: "unsupported_image", message: /./, param: null },
    { what: "GET", path: OPENAI, init: {}, status: 405, code: "method_not_allowed", message: /use POST/, param: null },
  ];

  test("with the status, the code and the format of its interface", async (t) => {
    const page = await pageWithModel(t);
    for (const { what, path, init, status, code, message, param } of cases) {
      const method = init.method ?? (init.body === undefined ? "GET" : "POST");
      const answer = await send(page, path, { ...init, method });
      const where = `${what}, to ${path}`;
      const { error } = answer.json;
      assert.match(error.message, message, where);
      const type = { type: "invalid_request_error", param: param ?? null };
      const own = path === OPENAI ? { error: { message: error.message, ...type, code } } : { error: { code, message: error.message }, status_code: status };
      assert.deepEqual([answer.status, answer.json], [status, own], where);
      if (status === 405) assert.equal(answer.headers.allow, "POST", where);
    }
  });

  test("for uploads too", async (t) => {
    const page = await pageWithModel(t);
    const none = await upload(page, [{ field: "file", name: "cat.png", base64: "" }]);
    assert.deepEqual([none.status, none.json.error.code], [400, "empty_input"]);
    const text = await upload(page, [{ field: "predict_file", text: "cat.png" }]);
    assert.deepEqual([text.status, text.json.error.code], [400, "invalid_input"]);
    const notes = await upload(page, [filePart(CAT, "cat.png"), filePart(Buffer.from("these are notes"), "notes.png")]);
    assert.deepEqual([notes.status, notes.json.status_code, notes.json.error.code], [415, 415, "unsupported_image"]);
    const cut = await upload(page, [filePart(CAT.subarray(0, 1000), "cat.png")]);
    assert.deepEqual([cut.status, cut.json.error.code], [422, "corrupt_image"]);
  });

  test("for a body larger than 64 MiB", async (t) => {
    const page = await pageWithModel(t);
    const answers = await page.evaluate(async (paths) => {
      const body = new Blob([new Uint8Array((64 << 20) + 1)]);
      const ask = async (/** @type {string} */ path) => {
        const response = await fetch(path, { method: "POST", body });
        return { status: response.status, json: await response.json() };
      };
      return Promise.all(paths.map(ask));
    }, [FILE, OPENAI]);
    assert.deepEqual(answers.map(({ status }) => status), [413, 413]);
    assert.deepEqual(answers.map(({ json }) => json.error.code), ["body_too_large", "body_too_large"]);
    assert.equal(answers[0]?.json.status_code, 413);
    assert.equal(answers[1]?.json.error.type, "invalid_request_error");
  });

  test("if no page has a model", async (t) => {
    const clip = await site.newPage(t);
    await controlled(clip.page);
    await clip.chooseOrigin("Any URL");
    const hosted = await post(clip.page, NLP, { inputs: ["a cat"] });
    assert.deepEqual([hosted.status, hosted.json.status_code, hosted.json.error.code], [503, 503, "no_encoder"]);
    assert.match(hosted.json.error.message, /open the page, load a model/);
    const openAi = await post(clip.page, OPENAI, { input: "a cat" });
    assert.deepEqual([openAi.status, openAi.json.error.type, openAi.json.error.code], [503, "server_error", "no_encoder"]);
    await clip.loadTinyModel();
    assert.equal((await post(clip.page, NLP, { inputs: ["a cat"] })).status, 200);
  });
});

describe("several pages", () => {
  test("each page with its own model answers its own requests", async (t) => {
    const page = await pageWithModel(t);
    const other = await page.context().newPage();
    await other.goto(`${site.own.origin}/`);
    await controlled(other);
    const lengths = [];
    for (const asking of [page, other]) lengths.push((await post(asking, NLP, { inputs: ["a cat"] })).json.data[0].length);
    assert.deepEqual(lengths, [64, 128]);
  });

  test("requests of a page without a model, or that does not listen, are answered by another page", async (t) => {
    const page = await pageWithModel(t);
    const want = (await expected(page, { texts: ["a cat"] })).texts;
    const without = await page.context().newPage();
    await without.goto(`${site.own.origin}/`);
    await without.getByRole("radio", { name: "Any URL" }).check({ force: true });
    const silent = await otherPage(page);
    for (const asking of [without, silent]) assert.deepEqual((await post(asking, NLP, { inputs: ["a cat"] })).json, want);
  });

  test("a page that is closed before it has answered is not waited for", async (t) => {
    const { page } = await site.newPage(t);
    await controlled(page);
    const [asking, never] = [await otherPage(page), await otherPage(page)];
    await page.close();
    await never.evaluate(async () => {
      const { serveEndpoint } = await import(/** @type {string} */ ("/endpoint.js"));
      await serveEndpoint(() => {
        document.title = "asked";
        return new Promise(() => {});
      });
    });
    const answer = post(asking, NLP, { inputs: ["a cat"] });
    await never.waitForFunction(() => document.title === "asked");
    await never.close();
    assert.equal((await answer).status, 503);
  });
});

describe("serveEndpoint on another page", () => {
  test("answers until it is stopped, and reports errors", async (t) => {
    const { page } = await site.newPage(t);
    const other = await otherPage(page);
    await page.close();
    const before = await other.evaluate(async (url) => {
      const { ClipEncoder } = await import(/** @type {string} */ ("/clip.js"));
      const { serveEndpoint } = await import(/** @type {string} */ ("/endpoint.js"));
      const clip = await ClipEncoder.load(url);
      /** @type {string[]} */
      const errors = [];
      const stop = await serveEndpoint(clip, { onError: (/** @type {any} */ { code }) => errors.push(code) });
      Object.assign(window, { clip, stop, errors });
      return (await clip.embedText(["a cat"])).data;
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.deepEqual((await post(other, NLP, { inputs: ["a cat"] })).json.data, before);
    await post(other, NLP, {});
    await other.evaluate("clip.close()");
    assert.equal((await post(other, NLP, { inputs: ["a cat"] })).json.error.code, "closed");
    assert.deepEqual(await other.evaluate("errors"), ["invalid_input", "closed"]);
    await other.evaluate("stop()");
    assert.equal((await post(other, NLP, { inputs: ["a cat"] })).json.error.code, "no_encoder");
  });

  test("and answerRequest without a service worker, for any URL", async (t) => {
    const { page } = await site.newPage(t);
    const answers = await page.evaluate(async (url) => {
      const { ClipEncoder } = await import(/** @type {string} */ ("/clip.js"));
      const { answerRequest } = await import(/** @type {string} */ ("/endpoint.js"));
      const clip = await ClipEncoder.load(url);
      const init = { method: "POST", headers: { "content-type": "application/json; charset=utf-8" }, body: `{"inputs": ["a cat"]}` };
      const answers = [];
      for (const path of ["v1/models", "deep/in/it/api/predict/nlp/a/b", "api/predict/nlp/a"]) {
        const response = await answerRequest(new Request(`https://any.example/${path}`, init), clip);
        answers.push({ status: response.status, json: await response.json() });
      }
      return { answers, texts: await clip.embedText(["a cat"]) };
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    const [models, deep, short] = answers.answers;
    assert.deepEqual([models?.status, models?.json.error.code], [404, "not_found"]);
    assert.deepEqual([deep?.status, deep?.json], [200, answers.texts]);
    assert.equal(short?.status, 404);
  });

  test("rejects if no service worker is registered", async (t) => {
    const { page } = await site.newPage(t);
    const host = await new StaticServer(join(REPOSITORY, "www")).start();
    t.after(() => host.stop());
    host.answer("/other.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"));
    await page.goto(`${host.origin}/other.html`);
    const code = await page.evaluate(async () => {
      const { serveEndpoint } = await import(/** @type {string} */ ("/endpoint.js"));
      return serveEndpoint(() => null).catch((/** @type {any} */ error) => error.code);
    });
    assert.equal(code, "no_service_worker");
  });
});
