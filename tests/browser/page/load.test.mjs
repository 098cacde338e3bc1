// Weights from a URL and from a file: what the page shows while they load, and when that fails.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { FIXTURES, shownCode, Site, TINY_MODEL } from "../support/browser.mjs";
import { cutConnection, gzipped, slow, stalled, status, truncatedFile, webPage, withoutLength } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */
/** @import { Answer } from "../support/server.mjs" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A text is embedded, so the encoder works.
 * @param {ClipPage} clip
 */
async function assertWorks(clip) {
  await clip.texts.fill("a photo of a cat");
  await clip.embed();
  const { data, status_code } = await clip.copied();
  assert.equal(status_code, 200);
  assert.equal(data.length, 1);
}

describe("a model loads", () => {
  test("from a URL of another origin", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    await clip.modelState.filter({ hasText: /^Ready: .+ · q8_0$/ }).waitFor();
    await assertWorks(clip);
  });

  test("from a URL relative to the page", async (t) => {
    const clip = await site.newPage(t);
    site.own.answer("/weights/m.gguf", withoutLength(TINY_MODEL));
    await clip.loadUrl("weights/m.gguf");
    await clip.ready();
  });

  test("from a file on disk, without requests to a server", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadFile(TINY_MODEL);
    await clip.ready();
    await assertWorks(clip);
    assert.deepEqual(site.hub.requests, []);
  });

  test("from a file dropped on the page", async (t) => {
    const clip = await site.newPage(t);
    await clip.giveFiles("drop", "body", [{ name: "dropped.gguf", path: TINY_MODEL }]);
    await clip.ready();
  });

  test("from the menu, when Embed is pressed before Load", async (t) => {
    const clip = await site.newPage(t);
    const entry = { name: "Tiny", type: "q8_0", description: "Tiny.", parameters: 1e6, licence: "MIT", url: `${site.hub.origin}/tiny-gelu.q8_0.gguf` };
    site.own.answer("/models.json", (_request, response) => void response.end(JSON.stringify([entry])));
    await clip.page.reload();
    await assertWorks(clip);
    assert.deepEqual(site.hub.requests, ["/tiny-gelu.q8_0.gguf"]);
  });

  test("only once for two requests at the same time", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadUrl(site.hub.answer("/slow.gguf", slow(TINY_MODEL, statSync(TINY_MODEL).size * 2)));
    await assertWorks(clip);
    assert.deepEqual(site.hub.requests, ["/slow.gguf"]);
  });

  test("compressed during the transfer", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadUrl(site.hub.answer("/gzip.gguf", gzipped(TINY_MODEL)));
    await clip.ready();
  });
});

describe("progress", () => {
  const size = statSync(TINY_MODEL, { throwIfNoEntry: false })?.size ?? 0;
  const half = Math.floor(size / 2);

  test("shows bytes and the total that the server sends", async (t) => {
    const clip = await site.newPage(t);
    const { promise, resolve } = promiseWithResolvers();
    await clip.loadUrl(site.hub.answer("/half.gguf", stalled(TINY_MODEL, half, promise)));
    await clip.page.locator(`#model-bar[value="${half}"]`).waitFor();
    assert.equal(await bar(clip).getAttribute("max"), String(size));
    const facts = String(await clip.modelFacts.textContent()).split(" · "); // perhaps with a speed
    assert.equal(facts[0], `${(half / 1e6).toFixed(1)} MB of ${(size / 1e6).toFixed(1)} MB`);
    resolve();
    // When it is ready for texts, the panel still shows the progress of the image tower. Words and bar are read at one
    // moment.
    await clip.ready();
    const ready = await clip.page.waitForFunction(() => {
      const words = String(document.querySelector("#model-state")?.textContent);
      const bar = /** @type {HTMLElement} */ (document.querySelector("#model-bar"));
      return /^Ready: (?!.*the rest)/.test(words) && { words, bar: getComputedStyle(bar).visibility };
    });
    assert.equal(/** @type {{ bar: string }} */ (await ready.jsonValue()).bar, "hidden");
  });

  test("shows only bytes until the file's header gives the total", async (t) => {
    const clip = await site.newPage(t);
    const { promise, resolve } = promiseWithResolvers();
    const { promise: header, resolve: sendHeader } = promiseWithResolvers();
    site.hub.answer("/endless.gguf", async (_request, response) => {
      const bytes = readFileSync(TINY_MODEL);
      response.writeHead(200, { "content-type": "application/octet-stream" }).write(bytes.subarray(0, 100_000));
      await header;
      response.write(bytes.subarray(100_000, half));
      await promise;
      response.end(bytes.subarray(half));
    });
    await clip.loadUrl(`${site.hub.origin}/endless.gguf`);
    await clip.page.locator("#model-facts").filter({ hasText: /^0\.1 MB/ }).waitFor();
    assert.equal(await bar(clip).getAttribute("value"), null);
    sendHeader();
    await clip.page.locator("#model-facts").filter({ hasText: `${(half / 1e6).toFixed(1)} MB of ${(size / 1e6).toFixed(1)} MB` }).waitFor();
    resolve();
    await clip.ready();
  });

  test("takes the total from models.json if the server does not send it", async (t) => {
    const clip = await site.newPage(t);
    /** @type {{ loaded: number, total: number | null }[]} */
    const seen = await clip.page.evaluate(
      async ({ url, size }) => {
        const { ClipEncoder } = await import("/clip.js");
        /** @type {any[]} */
        const seen = [];
        await ClipEncoder.load(url, { size, onProgress: (/** @type {any} */ progress) => seen.push(progress) });
        return seen;
      },
      { url: site.hub.answer("/untold.gguf", withoutLength(TINY_MODEL)), size },
    );
    assert.deepEqual(seen[0], { loaded: 0, total: size, bytesPerSecond: null, secondsLeft: null });
    assert.deepEqual([seen.at(-1)?.loaded, seen.at(-1)?.total], [size, size]);
    for (const [index, { loaded }] of seen.entries()) {
      assert.ok(index === 0 || loaded >= /** @type {any} */ (seen[index - 1]).loaded, `progress ${index} went back to ${loaded}`);
    }
  });

  test("cancel stops the network, and the next load works", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadUrl(site.hub.answer("/never.gguf", stalled(TINY_MODEL, half, new Promise(() => {}))));
    await clip.page.locator(`#model-bar[value="${half}"]`).waitFor();
    await clip.page.getByRole("button", { name: "Cancel" }).click();
    await clip.modelState.filter({ hasText: "No model yet" }).waitFor();
    assert.equal(await clip.modelError.count(), 0, "a cancelled load is not an error");
    await waitUntil("the connection is cut off", () => site.hub.cutOff.includes("/never.gguf"), 2_000);
    await clip.loadTinyModel();
    await assertWorks(clip);
  });
});

describe("a file that is not a model is refused, and the model before keeps working", () => {
  /** @type {{ name: string, code: string, message: RegExp, answer: Answer }[]} */
  const cases = [
    { name: "404", code: "http_status", message: /bad\.gguf answered 404/, answer: status(404) },
    { name: "500", code: "http_status", message: /answered 500/, answer: status(500) },
    { name: "a web page with status 200", code: "not_a_model", message: /web page/, answer: webPage("text/html; charset=utf-8") },
    { name: "a web page sent as application/octet-stream", code: "not_a_model", message: /web page/, answer: webPage("application/octet-stream") },
    { name: "no connection", code: "network", message: /no answer/, answer: (_request, response) => void response.destroy() },
    { name: "a connection cut halfway", code: "network", message: /ended after \d+ of \d+ bytes/, answer: cutConnection(TINY_MODEL, 30_000) },
    { name: "a file cut in its tensors", code: "truncated_model", message: /./, answer: truncatedFile(TINY_MODEL, Math.max(1, (statSync(TINY_MODEL, { throwIfNoEntry: false })?.size ?? 0) - 1000)) },
    { name: "an empty file", code: "not_a_model", message: /./, answer: (_request, response) => void response.end() },
    { name: "a picture", code: "not_a_model", message: /./, answer: (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.png"))) },
  ];
  /** One page for all of them, as a visitor would try one address after the other. @type {ClipPage} */
  let clip;
  /** @type {(() => unknown)[]} */
  const ends = [];
  before(async () => {
    clip = await site.newPage({ after: (end) => void ends.push(/** @type {() => unknown} */ (end)) });
    await clip.loadTinyModel();
  });
  after(async () => {
    for (const end of ends) await end();
  });
  for (const { name, code, message, answer } of cases) {
    test(name, async () => {
      await clip.loadUrl(site.hub.answer("/bad.gguf", answer));
      await clip.modelError.waitFor();
      assert.equal(await shownCode(clip.modelError), code);
      assert.match(String(await clip.modelError.textContent()), message);
      await assertWorks(clip);
      record({ section: "faults", what: `on the page: ${name} where a model was expected`, tried: "once", outcome: `shown in the panel (${code}); the previous model keeps working` });
    });
  }

  test("a foreign file from disk", async () => {
    await clip.loadFile({ name: "notes.gguf", mimeType: "", buffer: Buffer.from("these are notes, not weights") });
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "not_a_model");
    await assertWorks(clip);
  });

  test("an empty file from disk", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadFile({ name: "empty.gguf", mimeType: "", buffer: Buffer.alloc(0) });
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "not_a_model");
  });

  test("an invalid address", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadUrl("http://");
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "invalid_input");
  });

  test("a page of the Hub that is no model's", async (t) => {
    const clip = await site.newPage(t);
    for (const url of ["https://huggingface.co/datasets/laion/laion2B-en", "https://huggingface.co/openai", "https://hf.co/openai/clip/tree/main/onnx"]) {
      await clip.loadUrl(url);
      await clip.modelError.getByText(url).waitFor({ timeout: 5_000 });
      assert.equal(await shownCode(clip.modelError), "not_a_model");
    }
    await clip.loadTinyModel();
    await assertWorks(clip);
  });

  test("nothing chosen", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadUrl("");
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "empty_input");
  });

  test("if the menu does not load, URL and file still work", async (t) => {
    const clip = await site.newPage(t);
    site.own.answer("/models.json", status(500));
    await clip.page.reload();
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "http_status");
    await clip.loadTinyModel();
    await assertWorks(clip);
  });
});

/** @param {ClipPage} clip */
function bar(clip) {
  return clip.page.getByRole("progressbar");
}

/** @returns {{ promise: Promise<void>, resolve: () => void }} */
function promiseWithResolvers() {
  let resolve = () => {};
  const promise = new Promise((/** @type {(value: void) => void} */ r) => (resolve = r));
  return { promise, resolve };
}
