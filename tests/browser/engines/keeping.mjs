// In every engine: what is stored for the next visit and for visits without a network, and what the service worker
// answers.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TEST_DATA } from "../support/browser.mjs";
import { assertClose, CAPTIONS, commandLine, PICTURES, TINY } from "./expected.mjs";

/** @import { Case, Visit } from "./visit.mjs" */

const NLP = "api/predict/nlp/project/key";
const FILE = "api/predict/file/project/key";
const LARGER_MODEL = join(TEST_DATA, "tiny-gelu.f32.gguf");
const [PHOTO] = PICTURES;
const expected = commandLine(TINY, { texts: CAPTIONS, images: PICTURES.slice(0, 1) });

/** @param {Visit} visit */
async function assertWorks(visit) {
  await visit.fill("#texts", CAPTIONS.join("\n"));
  await visit.choose("#image-files", [String(PHOTO)]);
  assertClose((await visit.embed()).data, expected);
}

/**
 * The hosted endpoint's two requests, and OpenAI's, made by the current page.
 * @param {Visit} visit
 */
async function ask(visit) {
  return visit.evaluate(
    async (nlp, file, texts, photo) => {
      const json = { "content-type": "application/json" };
      const bytes = Uint8Array.from(atob(photo), (character) => character.charCodeAt(0));
      const form = new FormData();
      form.append("predict_file", new File([bytes], "rocket.jpg", { type: "image/jpeg" }));
      const asked = [
        fetch(nlp, { method: "POST", headers: json, body: JSON.stringify({ inputs: texts }) }),
        fetch(file, { method: "POST", body: form }),
        fetch("v1/embeddings", { method: "POST", headers: json, body: JSON.stringify({ input: texts }) }),
        fetch(nlp, { method: "POST", headers: json, body: "{}" }),
      ];
      return Promise.all(asked.map(async (answer) => ({ status: (await answer).status, json: await (await answer).json() })));
    },
    NLP,
    FILE,
    CAPTIONS,
    readFileSync(String(PHOTO), "base64"),
  );
}

/** @param {Awaited<ReturnType<typeof ask>>} answers */
function assertAnswers([texts, image, openAi, wrong]) {
  assert.deepEqual([texts?.status, image?.status, openAi?.status, wrong?.status], [200, 200, 200, 400]);
  assertClose([...texts?.json.data, ...image?.json.data], expected);
  assertClose(openAi?.json.data.map((/** @type {any} */ { embedding }) => embedding), expected.slice(0, 2));
  assert.equal(wrong?.json.error.code, "invalid_input");
}

/** @type {Case[]} */
export const KEEPING = [
  {
    name: "the second visit does not fetch the model again, and deletes it with a click",
    async run({ visit, facts }) {
      const url = await visit.loadTinyModel();
      await visit.says("#kept-summary", /^Kept on this device: 1 model, 4\.6 MB$/);
      visit.hub.requests.length = 0;
      await visit.revisit();
      await visit.loadUrl(url);
      await visit.ready();
      await assertWorks(visit);
      assert.deepEqual(visit.hub.requests, []);
      facts.keptIn = await visit.evaluate(async () => {
        if (await caches.has("clip-wasm-models")) return "the Cache API";
        const root = await navigator.storage.getDirectory();
        await root.getDirectoryHandle("clip-wasm-models");
        return "the origin private file system";
      });
      await visit.openModelPanel();
      await visit.click("#kept-summary");
      await visit.click("#kept-list button");
      await visit.waitFor("nothing is kept", async () => !(await visit.isVisible("#kept")));
      await visit.revisit();
      await visit.loadUrl(url);
      await visit.ready();
      assert.deepEqual(visit.hub.requests, [`/${TINY}`]);
    },
  },
  {
    name: "a cancelled load continues on the next visit from its stored part",
    async run({ visit }) {
      // With only the Cache API, whole pieces of 8 MB are stored.
      const url = visit.hub.parts("/parts.gguf", LARGER_MODEL, { silentAfter: (from) => (from === 0 ? 10_000_000 : 1e9) });
      await visit.loadUrl(url);
      await visit.says("#model-facts", /^10\.0 MB/);
      await visit.click("#model-cancel");
      await visit.says("#kept-list", /^\S+(10\.0|8\.4) MB · in part of 14\.5 MB/);
      await visit.revisit();
      await visit.loadUrl(url);
      await visit.ready();
      assert.match(String(visit.hub.ranges[1]), /^(10000000|8388608)-/, "from the first byte that is missing");
    },
  },
  {
    name: "without a network the page opens, says so, and embeds with the demo model and with a stored model",
    options: { samples: true },
    // The build with threads is stored by a visit that has a network and fetches it.
    expectedComplaint: /one thread: .*(fetch|network|imported)|^rejected: .*(Failed to fetch|respondWith).*sw\.js/i,
    async run({ visit }) {
      await visit.says("#comparison .verdict", /./);
      await visit.settled();
      const sample = await visit.json();
      const url = await visit.loadTinyModel();
      await visit.served();
      await visit.stopServers();
      await visit.revisit();
      await visit.says("#offline", /^Offline now$/);
      await visit.says("#comparison .verdict", /./);
      await visit.settled();
      assertClose((await visit.json()).data, sample.data);
      await visit.loadUrl(url);
      await visit.ready();
      await visit.fill("#texts", CAPTIONS.join("\n"));
      assertClose((await visit.embed()).data.slice(0, 2), expected.slice(0, 2));
    },
  },
  {
    name: "the hosted endpoint answers the page itself, a second tab, and the second visit",
    async run({ visit }) {
      await visit.loadTinyModel();
      await visit.waitFor("the service worker has the page", () => visit.evaluate(() => navigator.serviceWorker.controller !== null));
      assertAnswers(await ask(visit));
      visit.own.answer("/other.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Another</title>"));
      await visit.openTab("/other.html");
      assertAnswers(await ask(visit));
      await visit.closeTab();
      await visit.revisit();
      await visit.loadTinyModel();
      assertAnswers(await ask(visit));
      assert.deepEqual(visit.own.requests.filter((path) => /^\/(api|v1)\//.test(path)), [], "no server is asked");
    },
  },
];
