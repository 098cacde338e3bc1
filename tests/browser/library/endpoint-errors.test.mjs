// Requests that the endpoint refuses: the status, the code and the message, in the form of each interface.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site } from "../support/browser.mjs";
import { controlled, FILE, filePart, NLP, OPENAI, pageWithModel, post, send, upload } from "../support/endpoint.mjs";

const CAT = readFileSync(join(FIXTURES, "cat.png"));

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

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
    { what: "no inputs", path: NLP, init: { headers: json, body: `{}` }, status: 400, code: "invalid_input", message: /inputs is missing/ },
    { what: "inputs that are none", path: NLP, init: { headers: json, body: `{"inputs": []}` }, status: 400, code: "empty_input", message: /empty/ },
    { what: "a number for a text", path: NLP, init: { headers: json, body: `{"inputs": ["a", 3]}` }, status: 400, code: "invalid_input", message: /input 1 is a number/ },
    { what: "a form that is none", path: FILE, init: { headers: form, body: "no form" }, status: 400, code: "invalid_input", message: /boundary/ },
    { what: "no input", path: OPENAI, init: { headers: json, body: `{"model": "clip"}` }, status: 400, code: "invalid_input", message: /input is missing/, param: "input" },
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
    const page = await pageWithModel(site, t);
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
    const page = await pageWithModel(site, t);
    const none = await upload(page, [{ field: "file", name: "cat.png", base64: "" }]);
    assert.deepEqual([none.status, none.json.error.code], [400, "empty_input"]);
    const text = await upload(page, [{ field: "predict_file", text: "cat.png" }]);
    assert.deepEqual([text.status, text.json.error.code], [400, "invalid_input"]);
    const notes = await upload(page, [filePart(CAT, "cat.png"), filePart(Buffer.from("these are notes"), "notes.png")]);
    assert.deepEqual([notes.status, notes.json.status_code, notes.json.error.code], [415, 415, "unsupported_image"]);
    assert.match(notes.json.error.message, /^input 1: this is text/);
    const cut = await upload(page, [filePart(CAT.subarray(0, 1000), "cat.png")]);
    assert.deepEqual([cut.status, cut.json.error.code], [422, "corrupt_image"]);
  });

  test("for a body larger than 64 MiB", async (t) => {
    const page = await pageWithModel(site, t);
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
    const clip = await site.newPageWithServiceWorker(t);
    await controlled(clip.page);
    await clip.chooseOrigin("Name or URL");
    const hosted = await post(clip.page, NLP, { inputs: ["a cat"] });
    assert.deepEqual([hosted.status, hosted.json.status_code, hosted.json.error.code], [503, 503, "no_encoder"]);
    assert.match(hosted.json.error.message, /open the page, load a model/);
    const openAi = await post(clip.page, OPENAI, { input: "a cat" });
    assert.deepEqual([openAi.status, openAi.json.error.type, openAi.json.error.code], [503, "server_error", "no_encoder"]);
    await clip.loadTinyModel();
    assert.equal((await post(clip.page, NLP, { inputs: ["a cat"] })).status, 200);
  });
});
