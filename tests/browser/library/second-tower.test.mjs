// What can change, fail or be too much between the two towers of a model that are loaded one after the other.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Site, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { apiPage, assertVectors, kept, load, script } from "../support/loads.mjs";
import { status } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { Answer } from "../support/server.mjs" */

const PATH = "/tiny-hf/model.safetensors";
const SOURCE = join(TEST_DATA, PATH);
const CHANGED = "missing_tower: the model has changed on its server since its first tower was loaded; load it anew";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {string} text @returns {Answer} */
const answer = (text) => (_request, response) => void response.end(text);

/** @param {number} mean @returns {Answer} */
const processor = (mean) => answer(JSON.stringify({ image_mean: [mean, mean, mean], image_std: [0.5, 0.5, 0.5], do_normalize: true, do_resize: true, do_center_crop: true }));

test("if a file beside the weights has changed, the stored tower is not used with the new ones", async (t) => {
  for (const [path, first, second] of /** @type {[string, Answer, Answer][]} */ ([
    ["README.md", status(404), answer("---\nlicense: apache-2.0\n---\n# A model\n")],
    ["preprocessor_config.json", processor(0.1), processor(0.5)],
  ])) {
    const page = await apiPage(site, t);
    const url = site.hub.parts(PATH, SOURCE);
    site.hub.answer(`/tiny-hf/${path}`, second);
    const { text, image } = await load(page, url, { keep: false });
    site.hub.answer(`/tiny-hf/${path}`, first);
    assert.equal((await load(page, url, { towers: ["vision"] })).code, null);
    site.hub.answer(`/tiny-hf/${path}`, second);
    assertVectors(await load(page, url, { towers: ["text"] }), { text, image: null });
    assertVectors(await load(page, url), { text, image });
    site.hub.answer(PATH, status(404));
    assertVectors(await load(page, url), { text, image });
  }
});

test("a file beside the weights that its server cannot send just now is not taken for a missing one", async (t) => {
  const page = await apiPage(site, t);
  const url = site.hub.parts(PATH, SOURCE);
  for (const code of [429, 503]) {
    site.hub.answer("/tiny-hf/preprocessor_config.json", status(code));
    const outcome = await load(page, url);
    assert.deepEqual([outcome.code, outcome.message.includes(`answered ${code}`)], ["http_status", true], outcome.message);
  }
});

for (const [what, path, file] of /** @type {[string, string, string][]} */ ([["a checkpoint", PATH, SOURCE], ["a GGUF", "/m.gguf", TINY_MODEL]])) {
  for (const keep of [true, false]) {
    test(`${what} that has changed on its server gives no second tower for the first${keep ? "" : ", nor if nothing is kept"}`, async (t) => {
      const page = await apiPage(site, t);
      const url = site.hub.parts(path, file);
      await page.evaluate(async ({ url, keep }) => void (window.clip = await window.ClipEncoder.load(url, { towers: ["vision"], keep })), { url, keep });
      site.hub.parts(path, file, { etag: '"two"' });
      const found = await page.evaluate(async () => {
        const image = (await window.clip.embedImage([window.cat])).data[0];
        const told = await window.told(window.clip.loadTowers(["text"]));
        return { told, towers: window.clip.info.towers, isSame: String((await window.clip.embedImage([window.cat])).data[0]) === String(image) };
      });
      assert.deepEqual(found, { told: CHANGED, towers: ["vision"], isSame: true });
    });
  }
}

test("a file that changes while its second tower comes is read again, and counted once", async (t) => {
  const page = await apiPage(site, t);
  const serve = () => site.hub.parts("/m.gguf", TINY_MODEL);
  const right = await load(page, serve(), { keep: false });
  for (const keep of [true, false]) {
    const url = site.hub.parts("/m.gguf", TINY_MODEL, { etag: '"old"', silentAfter: (from) => (from === 0 ? 4_450_000 : 0) });
    const early = await page.evaluate(async ({ url, keep }) => {
      window.clip = await window.ClipEncoder.load(url, { first: "text", keep, idleTimeout: 1000 });
      return window.clip.info.towers;
    }, { url, keep });
    assert.deepEqual(early, ["text"]);
    serve();
    const found = await page.evaluate(async () => {
      const { clip } = window;
      await clip.loaded;
      return { text: (await clip.embedText(["a dog"])).data[0] ?? null, image: (await clip.embedImage([window.cat])).data[0] ?? null, weights: clip.memory.weights };
    });
    const weights = await page.evaluate(async (url) => (await window.ClipEncoder.load(url, { keep: false })).memory.weights, url);
    assert.deepEqual(found, { text: right.text, image: right.image, weights });
  }
});

test("after a load that was ended between the towers, the other one counts once", async (t) => {
  const page = await apiPage(site, t);
  const url = site.hub.parts("/m.gguf", TINY_MODEL, { silentAfter: (from) => (from === 0 ? 4_450_000 : 0) });
  await page.evaluate(async (url) => {
    const abort = new AbortController();
    window.clip = await window.ClipEncoder.load(url, { first: "text", signal: abort.signal });
    abort.abort();
    await window.clip.loaded.catch(() => {});
  }, url);
  site.hub.parts("/m.gguf", TINY_MODEL);
  const found = await page.evaluate(async (url) => {
    const alone = await window.ClipEncoder.load(url, { towers: ["text"], keep: false });
    const whole = await window.ClipEncoder.load(url, { keep: false });
    await window.clip.loadTowers(["vision"]);
    return { one: window.clip.memory.weights, whole: whole.memory.weights, isMore: whole.memory.weights > alone.memory.weights };
  }, url);
  assert.deepEqual(found, { one: found.whole, whole: found.whole, isMore: true });
});

test("a tower that is asked for twice at once counts once, and so does one that is aborted and asked for again", async (t) => {
  for (const keep of [true, false]) {
    // The worker learns of an abort when the page has asked for the tower again already.
    const page = await apiPage(site, t, script(() => {
      /** @type {Set<Event>} */
      const delayed = new Set();
      self.addEventListener("message", (event) => {
        if (!event.data.abort || delayed.has(event)) return;
        event.stopImmediatePropagation();
        const again = new MessageEvent("message", { data: event.data });
        delayed.add(again);
        setTimeout(() => self.dispatchEvent(again), 300);
      });
    }));
    const url = site.hub.parts("/m.gguf", TINY_MODEL);
    await page.evaluate(async ({ url, keep }) => void (window.clip = await window.ClipEncoder.load(url, { towers: ["vision"], keep })), { url, keep });
    site.hub.parts("/m.gguf", TINY_MODEL, { silentAfter: (from) => (from > 0 ? 1_000_000 : Infinity) });
    await page.evaluate(async () => {
      const abort = new AbortController();
      // Aborted when its header has been read, and its weights are counted.
      const loading = window.told(window.clip.loadTowers(["text"], { signal: abort.signal, onProgress: ({ loaded }) => void (loaded > 2_500_000 && abort.abort()) }));
      if (!String(await loading).startsWith("aborted")) throw new Error(String(await loading));
    });
    site.hub.parts("/m.gguf", TINY_MODEL);
    const found = await page.evaluate(async (url) => {
      await Promise.all([window.clip.loadTowers(["text"]), window.clip.loadTowers(["text"])]);
      return { weights: window.clip.memory.weights, whole: (await window.ClipEncoder.load(url, { keep: false })).memory.weights };
    }, url);
    assert.equal(found.weights, found.whole);
  }
});

test("a tower that has come although its load was aborted is not loaded again", async (t) => {
  // The second load is never answered: its abort comes too late for the worker.
  const page = await apiPage(site, t, script(() => {
    const { postMessage } = self;
    let loads = 0;
    self.postMessage = (/** @type {any[]} */ ...message) => {
      if (!message[0].result?.info || ++loads !== 2) postMessage.apply(self, /** @type {any} */ (message));
    };
  }));
  const url = site.hub.parts("/m.gguf", TINY_MODEL);
  const whole = await page.evaluate(async (url) => {
    const whole = (await window.ClipEncoder.load(url, { keep: false })).memory.weights;
    window.clip = await window.ClipEncoder.load(url, { towers: ["vision"] });
    window.abort = new AbortController();
    window.outcome = window.told(window.clip.loadTowers(["text"], { signal: window.abort.signal }));
    return whole;
  }, url);
  await waitUntil("both towers are stored", async () => (await kept(page)).some(({ whole, towers }) => whole || towers.length === 2));
  site.hub.answer("/m.gguf", status(404));
  const found = await page.evaluate(async () => {
    window.abort.abort();
    const aborted = String(await window.outcome).split(":")[0];
    await window.clip.loadTowers(["text"]);
    return { aborted, weights: window.clip.memory.weights, towers: window.clip.info.towers };
  });
  assert.deepEqual(found, { aborted: "aborted", weights: whole, towers: ["text", "vision"] });
});

test("a wrong SHA-256 is refused for a converted tower that is stored, too", async (t) => {
  const page = await apiPage(site, t);
  const url = site.hub.parts(PATH, SOURCE);
  const wrong = "0".repeat(64);
  await load(page, url, { towers: ["vision"] });
  assert.equal((await load(page, url, { towers: ["vision"], sha256: wrong })).code, "corrupt_model");
  await load(page, url);
  assert.equal((await load(page, url, { sha256: wrong })).code, "corrupt_model");
});

test("the second tower counts with the first, also after attempts that were aborted", async (t) => {
  const page = await apiPage(site, t);
  const url = site.hub.parts(PATH, SOURCE, { silentAfter: (from) => (from > 0 ? 1_000_000 : Infinity) });
  const stopped = await page.evaluate(async (url) => {
    window.clip = await window.ClipEncoder.load(url, { towers: ["vision"] });
    const alone = window.clip.memory.weights;
    for (let i = 0; i < 2; i++) {
      const abort = new AbortController();
      const loading = window.told(window.clip.loadTowers(["text"], { signal: abort.signal, onProgress: ({ loaded }) => void (loaded > 500_000 && abort.abort()) }));
      if (!String(await loading).startsWith("aborted")) throw new Error(String(await loading));
    }
    return { alone, after: window.clip.memory.weights };
  }, url);
  assert.equal(stopped.after, stopped.alone);
  site.hub.parts(PATH, SOURCE);
  const { one, whole } = await page.evaluate(async (url) => {
    await window.clip.loadTowers(["text"]);
    const whole = await window.ClipEncoder.load(url, { keep: false });
    return { one: window.clip.memory.weights, whole: whole.memory.weights };
  }, url);
  assert.equal(one, whole);
});

test("a device with room for each tower, but not for both, refuses the second unless it is to be ignored", async (t) => {
  const probe = await apiPage(site, t);
  const url = site.hub.parts(PATH, SOURCE);
  const both = await probe.evaluate(async (url) => (await window.ClipEncoder.load(url, { keep: false })).memory.weights, url);
  const deviceMemory = (2 * (100e6 + both - 1)) / 2 ** 30;
  const page = await apiPage(site, t, `Object.defineProperty(navigator, "deviceMemory", { value: ${deviceMemory} });`);
  site.hub.parts(PATH, SOURCE);
  const codes = await page.evaluate(async (url) => {
    const clip = await window.ClipEncoder.load(url, { towers: ["vision"], keep: false });
    const refused = await window.codeOf(clip.loadTowers(["text"]));
    return [refused, await window.codeOf(clip.loadTowers(["text"], { ignoreMemory: true })), ...clip.info.towers];
  }, url);
  assert.deepEqual(codes, ["low_memory", "no error", "text", "vision"]);
});

test("where there is room for one tower only, it is stored", async (t) => {
  const page = await apiPage(site, t, "StorageManager.prototype.estimate = async () => ({ quota: 2_500_000, usage: 0 });");
  const url = site.hub.parts(PATH, SOURCE);
  const { code, warnings } = await load(page, url, { towers: ["vision"] });
  assert.deepEqual([code, warnings], [null, []]);
  assert.deepEqual((await kept(page)).map(({ towers }) => towers), [["vision"]]);
});
