// In every engine: failures have their codes and affect nothing else, and loads can be aborted.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { FIXTURES, PHOTOS, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { status, truncatedFile, webPage } from "../support/server.mjs";
import { assertClose, CAPTIONS, commandLine, TINY } from "./expected.mjs";

/** @import { Case, Visit } from "./visit.mjs" */
/** @import { Answer } from "../support/server.mjs" */

const expected = commandLine(TINY, { texts: CAPTIONS, images: [join(PHOTOS, "horse.png")] });
const LARGER_MODEL = join(TEST_DATA, "tiny-gelu.f32.gguf");
const SIZE = statSync(TINY_MODEL).size;

/** @param {Visit} visit */
async function assertWorks(visit) {
  await visit.fill("#texts", CAPTIONS.join("\n"));
  assertClose((await visit.embed()).data.slice(0, 2), expected.slice(0, 2));
}

/** @type {{ name: string, code: string, answer: Answer }[]} files that are not models, or are incomplete */
const BAD_MODELS = [
  { name: "/page.gguf", code: "not_a_model", answer: webPage("text/html; charset=utf-8") },
  { name: "/disguised.gguf", code: "not_a_model", answer: webPage("application/octet-stream") },
  { name: "/picture.gguf", code: "not_a_model", answer: (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.png"))) },
  { name: "/empty.gguf", code: "not_a_model", answer: (_request, response) => void response.end() },
  { name: "/truncated.gguf", code: "truncated_model", answer: truncatedFile(TINY_MODEL, SIZE - 1000) },
  { name: "/missing.gguf", code: "http_status", answer: status(404) },
];

/** @type {Case[]} */
export const FAULTS = [
  {
    name: "a file that is not a model is refused with a code, and the model before keeps working",
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
    name: "invalid pictures show their codes on their thumbnails, and the others have vectors",
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
    name: "a cancelled load closes its connection; the next one is cut off by its server, and resumes",
    async run({ visit, engine }) {
      // Firefox closes a worker's connection only when further bytes arrive, so the server sends some.
      await visit.loadUrl(visit.hub.parts("/slow.gguf", LARGER_MODEL, { bytesPerSecond: 2_000_000 }));
      await visit.says("#model-facts", /^[1-9]\.\d MB/);
      await visit.click("#model-cancel");
      await visit.says("#model-state", /^No model yet/);
      await visit.waitFor("the connection is cut", () => visit.hub.cutOff.includes("/slow.gguf"));
      assert.ok(visit.hub.sent < statSync(LARGER_MODEL).size, "before all has been sent");
      assert.equal(await visit.text("#model-error"), "", "it is not an error");
      visit.hub.ranges.length = 0;
      let cuts = 0;
      await visit.loadUrl(visit.hub.parts("/cut.gguf", TINY_MODEL, { cutAfter: () => (cuts++ === 0 ? 2_000_000 : Infinity) }));
      await visit.ready();
      assert.ok(visit.hub.ranges.length > 1, "it is asked for again");
      // WebKit may lose the bytes that arrived just before the cut.
      if (engine.name !== "webkit") assert.match(String(visit.hub.ranges.at(-1)), /^[1-9]\d*-/, "from the position of the cut");
      await assertWorks(visit);
    },
  },
  {
    name: "with the API, an abort, a wrong argument and a closed encoder have their codes",
    async run({ visit }) {
      /** @type {{ code: string, message: string }[]} */
      const errors = await visit.evaluate(async (url) => {
        const { ClipEncoder } = await window.clipApi();
        const errorOf = (/** @type {Promise<unknown>} */ promise) =>
          promise.then(() => ({ code: "none", message: "" }), (/** @type {any} */ { code, message }) => ({ code, message }));
        const clip = await ClipEncoder.load(url);
        const errors = [
          await errorOf(ClipEncoder.load(url, { signal: AbortSignal.abort() })),
          await errorOf(clip.embedText(["a"], { signal: AbortSignal.abort() })),
          await errorOf(clip.embedText(/** @type {any} */ ("a"))),
          await errorOf(clip.embedImage([])),
          await errorOf(clip.embedImage(["absent.png"])),
          await errorOf(ClipEncoder.load(new Blob(["GGUF"]))),
        ];
        const waiting = errorOf(clip.embedText(["a"]));
        clip.close();
        return [...errors, await waiting, await errorOf(clip.embedText(["a"]))];
      }, `${visit.hub.origin}/${TINY}`);
      const wanted = ["aborted", "aborted", "invalid_input", "empty_input", "http_status", "truncated_model", "closed", "closed"];
      assert.deepEqual(errors.map(({ code }) => code), wanted, JSON.stringify(errors));
    },
  },
];
