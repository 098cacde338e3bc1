// The hosted endpoint without a server: fetch requests from a page, as the endpoint's clients make them, and the same
// JSON.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, REPOSITORY, Site } from "../support/browser.mjs";
import { controlled, filePart, NLP, OPENAI, pageWithModel, post, send, upload } from "../support/endpoint.mjs";
import { StaticServer } from "../support/server.mjs";

/** @import { Page } from "playwright-core" */
/** @import { Embeddings } from "../../../www/clip.js" */

const CAT = readFileSync(join(FIXTURES, "cat.png"));
const ROCKET = readFileSync(join(FIXTURES, "rocket.jpg"));
const AVIF = readFileSync(join(FIXTURES, "cat.avif"));
const TEXTS = ["a photo of a cat", "", "two blue squares on grass ".repeat(20)];

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * The API's results on the same page.
 * @param {Page} page
 * @param {{ texts?: string[], images?: Buffer[], model?: string }} inputs
 * @returns {Promise<{ texts: Embeddings, images: Embeddings, ids: number[][] }>}
 */
async function expected(page, { texts = [], images = [], model = `${site.hub.origin}/tiny-gelu.q8_0.gguf` }) {
  return page.evaluate(
    async ({ model, texts, images }) => {
      const { ClipEncoder } = await import("/clip.js");
      const clip = await ClipEncoder.load(model);
      const files = images.map((base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)));
      /** @type {Embeddings} */
      const none = { data: [], status_code: 200 };
      const result = {
        texts: texts.length > 0 ? await clip.embedText(texts) : none,
        images: files.length > 0 ? await clip.embedImage(files) : none,
        ids: texts.length > 0 ? (await clip.tokenize(texts)).map(({ ids }) => ids) : [],
      };
      clip.close();
      return result;
    },
    { model, texts, images: images.map((image) => image.toString("base64")) },
  );
}

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
    const page = await pageWithModel(site, t);
    const { status, headers, json } = await post(page, NLP, { inputs: TEXTS });
    assert.equal(status, 200);
    assert.match(String(headers["content-type"]), /^application\/json/);
    assert.deepEqual(json, (await expected(page, { texts: TEXTS })).texts);
    assert.equal(site.own.requests.includes(`/${NLP}`), false, "the server has not seen it");
  });

  test("file: one image, and several, those that the browser decodes included", async (t) => {
    const page = await pageWithModel(site, t);
    const { images } = await expected(page, { images: [CAT, ROCKET, AVIF] });
    const one = await upload(page, [filePart(CAT, "cat.png")]);
    assert.deepEqual([one.status, one.json], [200, { data: images.data.slice(0, 1), status_code: 200 }]);
    const several = await upload(page, [filePart(CAT, "cat.png"), filePart(ROCKET, "r.jpg"), filePart(AVIF, "cat.avif")]);
    assert.deepEqual([several.status, several.json], [200, images]);
  });

  test("many requests at once each get their own response", async (t) => {
    const page = await pageWithModel(site, t);
    const texts = Array.from({ length: 24 }, (_, n) => `a photo of ${n} cats`);
    const want = (await expected(page, { texts })).texts.data;
    const answers = await Promise.all(texts.map((text) => post(page, NLP, { inputs: [text] })));
    assert.deepEqual(answers.map(({ json }) => json.data[0]), want);
  });

  test("on the second visit, isolated, with the built-in model and without a click", async (t) => {
    const page = await pageWithModel(site, t);
    await page.reload();
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    const { status, json } = await post(page, NLP, { inputs: ["a red star"] });
    assert.equal(status, 200);
    assert.deepEqual(json, (await expected(page, { texts: ["a red star"], model: "models/demo.gguf" })).texts);
  });

  test("after a reload that bypasses the service worker, as soon as it controls the page again", async (t) => {
    const page = await pageWithModel(site, t);
    const devtools = await page.context().newCDPSession(page);
    const loaded = page.waitForEvent("load");
    await devtools.send("Page.reload", { ignoreCache: true });
    await loaded;
    await controlled(page);
    assert.equal(await page.evaluate(() => crossOriginIsolated), false, "the document itself came past it");
    assert.equal((await post(page, NLP, { inputs: ["a red star"] })).status, 200);
  });

  test("for a worker of the page", async (t) => {
    const page = await pageWithModel(site, t);
    const script = `fetch(${JSON.stringify(NLP)}, { method: "POST", headers: { "content-type": "application/json" }, body: '{"inputs": ["a cat"]}' })
      .then((response) => response.json()).then((json) => postMessage(json));`;
    site.own.answer("/asking.js", (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(script));
    const json = await page.evaluate(() => new Promise((resolve) => (new Worker("/asking.js").onmessage = ({ data }) => resolve(data))));
    assert.deepEqual(json, (await expected(page, { texts: ["a cat"] })).texts);
  });

  test("in a subfolder, and nowhere else", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
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
    const page = await pageWithModel(site, t);
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
    const page = await pageWithModel(site, t);
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
    const page = await pageWithModel(site, t);
    const want = (await expected(page, { texts: TEXTS })).texts.data;
    const { json } = await post(page, OPENAI, { model: "clip", input: TEXTS, encoding_format: "base64", dimensions: 64 });
    const vectors = json.data.map((/** @type {any} */ { embedding }) => {
      const bytes = Buffer.from(embedding, "base64");
      return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
    });
    assert.deepEqual(vectors, want);
  });
});

test("v1/models: the list, and one model by its name", async (t) => {
  const page = await pageWithModel(site, t);
  const list = await send(page, "v1/models", { method: "GET" });
  const [model] = list.json.data;
  assert.deepEqual([list.status, model.object], [200, "model"]);
  const one = await send(page, `v1/models/${encodeURIComponent(model.id)}`, { method: "GET" });
  assert.deepEqual([one.status, one.json], [200, model]);
  const other = await send(page, "v1/models/gpt-4", { method: "GET" });
  assert.deepEqual([other.status, other.json.error.code, other.json.error.param], [404, "model_not_found", "model"]);
});

describe("several pages", () => {
  test("each page with its own model answers its own requests", async (t) => {
    const page = await pageWithModel(site, t);
    const other = await page.context().newPage();
    await other.goto(`${site.own.origin}/`);
    await controlled(other);
    const lengths = [];
    for (const asking of [page, other]) lengths.push((await post(asking, NLP, { inputs: ["a cat"] })).json.data[0].length);
    assert.deepEqual(lengths, [64, 128]);
  });

  test("requests of a page without a model, or that does not listen, are answered by another page", async (t) => {
    const page = await pageWithModel(site, t);
    const want = (await expected(page, { texts: ["a cat"] })).texts;
    const without = await page.context().newPage();
    await without.goto(`${site.own.origin}/`);
    await without.getByRole("button", { name: "Change model" }).click();
    await without.locator("label", { has: without.getByRole("radio", { name: "Name or URL" }) }).click();
    const silent = await otherPage(page);
    for (const asking of [without, silent]) assert.deepEqual((await post(asking, NLP, { inputs: ["a cat"] })).json, want);
  });

  test("a page that is closed before it has answered is not waited for", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    await controlled(page);
    const [asking, never] = [await otherPage(page), await otherPage(page)];
    await page.close();
    await never.evaluate(async () => {
      const { serveEndpoint } = await import("/endpoint.js");
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
    const { page } = await site.newPageWithServiceWorker(t);
    const other = await otherPage(page);
    await page.close();
    const before = await other.evaluate(async (url) => {
      const { ClipEncoder } = await import("/clip.js");
      const { serveEndpoint } = await import("/endpoint.js");
      const clip = await ClipEncoder.load(url);
      window.clip = clip;
      window.codesTold = [];
      window.stopEndpoint = await serveEndpoint(clip, { onError: (/** @type {any} */ { code }) => window.codesTold.push(code) });
      return (await clip.embedText(["a cat"])).data;
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    assert.deepEqual((await post(other, NLP, { inputs: ["a cat"] })).json.data, before);
    await post(other, NLP, {});
    await other.evaluate(() => window.clip.close());
    assert.equal((await post(other, NLP, { inputs: ["a cat"] })).json.error.code, "closed");
    assert.deepEqual(await other.evaluate(() => window.codesTold), ["invalid_input", "closed"]);
    await other.evaluate(() => window.stopEndpoint());
    assert.equal((await post(other, NLP, { inputs: ["a cat"] })).json.error.code, "no_encoder");
  });

  test("and answerRequest without a service worker, for any URL", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    const answers = await page.evaluate(async (url) => {
      const { ClipEncoder } = await import("/clip.js");
      const { answerRequest } = await import("/endpoint.js");
      const clip = await ClipEncoder.load(url);
      const init = { method: "POST", headers: { "content-type": "application/json; charset=utf-8" }, body: `{"inputs": ["a cat"]}` };
      const answers = [];
      for (const path of ["v1/completions", "deep/in/it/api/predict/nlp/a/b", "api/predict/nlp/a"]) {
        const response = await answerRequest(new Request(`https://any.example/${path}`, init), clip);
        answers.push({ status: response.status, json: await response.json() });
      }
      return { answers, texts: await clip.embedText(["a cat"]) };
    }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    const [unknown, deep, short] = answers.answers;
    assert.deepEqual([unknown?.status, unknown?.json.error.code], [404, "not_found"]);
    assert.deepEqual([deep?.status, deep?.json], [200, answers.texts]);
    assert.equal(short?.status, 404);
  });

  test("rejects if no service worker is registered", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    const host = await new StaticServer(join(REPOSITORY, "www")).start();
    t.after(() => host.stop());
    host.answer("/other.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"));
    await page.goto(`${host.origin}/other.html`);
    const code = await page.evaluate(async () => {
      const { serveEndpoint } = await import("/endpoint.js");
      return serveEndpoint(() => null).catch(({ code }) => code);
    });
    assert.equal(code, "no_service_worker");
  });
});
