// In every engine: what goes wrong has its code, costs nothing else, and can be given up.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { FIXTURES, PHOTOS, TINY_MODEL } from "../page/browser.mjs";
import { cutConnection, stalled, status, truncatedFile, webPage } from "../page/server.mjs";
import { assertClose, CAPTIONS, commandLine, TINY } from "./expected.mjs";

/** @import { Case, Visit } from "./visit.mjs" */
/** @import { Answer } from "../page/server.mjs" */

const expected = commandLine(TINY, { texts: CAPTIONS, images: [join(PHOTOS, "horse.png")] });
const SIZE = statSync(TINY_MODEL).size;

/** @param {Visit} visit */
async function assertWorks(visit) {
  await visit.fill("#texts", CAPTIONS.join("\n"));
  assertClose((await visit.embed()).data.slice(0, 2), expected.slice(0, 2));
}

/** @type {{ name: string, code: string, answer: Answer }[]} what is no model, or does not come whole */
const BAD_MODELS = [
  { name: "/page.gguf", code: "not_a_model", answer: webPage("text/html; charset=utf-8") },
  { name: "/disguised.gguf", code: "not_a_model", answer: webPage("application/octet-stream") },
  { name: "/picture.gguf", code: "not_a_model", answer: (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.png"))) },
  { name: "/empty.gguf", code: "not_a_model", answer: (_request, response) => void response.end() },
  { name: "/truncated.gguf", code: "truncated_model", answer: truncatedFile(TINY_MODEL, SIZE - 1000) },
  { name: "/cut.gguf", code: "network", answer: cutConnection(TINY_MODEL, 30_000) },
  { name: "/missing.gguf", code: "http_status", answer: status(404) },
];

/** @type {Case[]} */
export const FAULTS = [
  {
    name: "what is no model is refused by its code, and the one before goes on working",
    async run({ visit, engine, scratch }) {
      await visit.loadTinyModel();
      for (const { name, code, answer } of BAD_MODELS) {
        await visit.loadUrl(visit.hub.answer(name, answer));
        await visit.waitFor(`${name} is refused`, async () => (await visit.text("#model-error code")) !== "");
        assert.equal(await visit.text("#model-error code"), code, `${name} in ${engine.title}: ${await visit.text("#model-error")}`);
      }
      await visit.loadFiles([scratch("notes.gguf", "these are notes, not weights")]);
      await visit.says("#model-error code", /^not_a_model$/);
      await assertWorks(visit);
    },
  },
  {
    name: "pictures that are none have their codes on their thumbnails, and the others their vectors",
    async run({ visit, scratch }) {
      await visit.loadTinyModel();
      const cut = scratch("cut.png", readFileSync(join(FIXTURES, "cat.png")).subarray(0, 1000));
      const notes = scratch("notes.png", "these are notes, not pixels");
      await visit.choose("#image-files", [cut, join(PHOTOS, "horse.png"), notes]);
      const { data } = await visit.embed();
      assertClose(data, expected.slice(2));
      const failed = await visit.texts("#thumbnails .failed");
      assert.deepEqual(failed.map((text) => /corrupt_image|unsupported_image/.exec(text)?.[0]), ["corrupt_image", "unsupported_image"]);
      assert.match(await visit.text("#result-summary"), /2 failed and are left out/);
      await visit.click("#thumbnails li:nth-child(3) .remove");
      await visit.click("#thumbnails li:nth-child(1) .remove");
      await visit.embed();
      assert.deepEqual(await visit.texts("#thumbnails .error"), []);
    },
  },
  {
    name: "a load is given up, which cuts the connection, and the next one works",
    async run({ visit }) {
      await visit.loadUrl(visit.hub.answer("/never.gguf", stalled(TINY_MODEL, 2_000_000, new Promise(() => {}))));
      await visit.says("#model-bytes", /^2\.0 MB/);
      await visit.click("#model-cancel");
      await visit.says("#model-state", /^No model yet/);
      await visit.waitFor("the connection is cut", () => visit.hub.cutOff.includes("/never.gguf"));
      assert.equal(await visit.text("#model-error"), "", "it is no error");
      await visit.loadTinyModel();
      await assertWorks(visit);
    },
  },
  {
    name: "by the API: an abort, a wrong argument and a closed encoder have their codes",
    async run({ visit }) {
      const codes = await visit.evaluate(async (url) => {
        const { ClipEncoder } = await /** @type {any} */ (globalThis).clipApi();
        const codeOf = (/** @type {Promise<unknown>} */ promise) => promise.then(() => "none", (/** @type {any} */ error) => error.code);
        const clip = await ClipEncoder.load(url);
        const codes = [
          await codeOf(ClipEncoder.load(url, { signal: AbortSignal.abort() })),
          await codeOf(clip.embedText(["a"], { signal: AbortSignal.abort() })),
          await codeOf(clip.embedText("a")),
          await codeOf(clip.embedImage([])),
          await codeOf(clip.embedImage(["absent.png"])),
          await codeOf(ClipEncoder.load(new Blob(["GGUF"]))),
        ];
        const waiting = codeOf(clip.embedText(["a"]));
        clip.close();
        return [...codes, await waiting, await codeOf(clip.embedText(["a"]))];
      }, `${visit.hub.origin}/${TINY}`);
      assert.deepEqual(codes.slice(0, 2), ["aborted", "aborted"]);
      assert.deepEqual(codes.slice(2), ["invalid_input", "empty_input", "http_status", "truncated_model", "closed", "closed"]);
    },
  },
];
