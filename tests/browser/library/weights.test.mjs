// Weights between visits: stored whole, in part or damaged, and shared by tabs; and the memory that they take.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { record } from "../../reliability/record.mjs";
import { modelWorkers, TEST_DATA } from "../support/browser.mjs";
import { apiPage, beginLoad, deleteKept, kept, load, openApi, removeFileSystem, script } from "../support/loads.mjs";
import { status } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";
import { MODEL, openWeights } from "../support/weights.mjs";

/** @import { Progress } from "../../../www/clip.js" */

const { site, size, sha256, right, serve, assertRight, assertKept } = await openWeights();
after(() => site.close());

describe("loaded bytes are stored", () => {
  test("and the next load needs no server", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    assertRight(await load(page, url));
    assert.deepEqual(site.hub.ranges, [""]);
    assert.deepEqual(await kept(page), [{ url, size, keptSize: size, towers: [], whole: true, verified: false }]);
    await assertKept(page, url);
  });

  test("unless the caller does not want it", async (t) => {
    const page = await apiPage(site, t);
    assertRight(await load(page, serve(), { keep: false }));
    assert.deepEqual(await kept(page), []);
  });

  test("until they are deleted, which does not wait for a load", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    await load(page, url);
    await deleteKept(page, url);
    assert.deepEqual(await kept(page), []);
    serve({ silentAfter: () => size / 2 });
    site.hub.ranges.length = 0;
    await beginLoad(page, url);
    await waitUntil("the load has begun", () => site.hub.ranges.length > 0);
    const codes = await page.evaluate(async (url) => {
      const refused = await window.codeOf(window.deleteKeptModel(url));
      window.abort.abort();
      await window.loading;
      return [refused, await window.codeOf(window.deleteKeptModel(url))];
    }, url);
    assert.deepEqual(codes, ["in_use", "no error"]);
    assert.deepEqual(await kept(page), []);
  });

  test("one tower at a time, each from its own bytes", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.parts(MODEL, join(TEST_DATA, "vit-b-32-gelu.q8_0.gguf"));
    const whole = statSync(join(TEST_DATA, "vit-b-32-gelu.q8_0.gguf")).size;
    const text = await load(page, url, { towers: ["text"] });
    assert.deepEqual([text.code, text.image, text.text?.length], [null, null, 512]);
    assert.ok(site.hub.sent < 0.5 * whole, `${site.hub.sent} of ${whole} bytes for the text tower`);
    const image = await load(page, url, { towers: ["vision"] });
    assert.deepEqual([image.code, image.text, image.image?.length], [null, null, 512]);
    // Bytes that a closed connection has already sent are not counted.
    assert.ok(site.hub.sent < 1.1 * whole, `${site.hub.sent} of ${whole} bytes for both`);
    site.hub.answer(MODEL, status(404));
    const both = await load(page, url, { towers: ["text", "vision"] });
    assert.deepEqual([both.code, both.text, both.image], [null, text.text, image.image]);
  });

  test("and a text is embedded while the image tower loads, and an image waits for it", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    const outcome = await page.evaluate(async (url) => {
      const clip = await window.ClipEncoder.load(url, { towers: ["text"] });
      /** @type {string[]} */
      const order = [];
      const loading = clip.loadTowers(["vision"]).then(() => order.push("tower"));
      const image = clip.embedImage([window.cat]).then(({ data }) => (order.push("image"), data[0]));
      const text = clip.embedText(["a dog"]).then(({ data }) => (order.push("text"), data[0]));
      await Promise.all([loading, image, text]);
      return { order, text: await text, image: await image, towers: clip.info.towers };
    }, url);
    assert.deepEqual(outcome, { order: ["text", "tower", "image"], ...right, towers: ["text", "vision"] });
  });

  test("and a text is embedded before the image tower is loaded, in one load with one progress", async (t) => {
    const page = await apiPage(site, t);
    for (const verified of [{}, { sha256 }]) {
      const url = serve({ bytesPerSecond: 8_000_000 });
      const { towers, text, image, progress } = await page.evaluate(
        async ({ url, verified }) => {
          /** @type {Pick<Progress, "loaded" | "total">[]} */
          const progress = [];
          const onProgress = (/** @type {Progress} */ { loaded, total }) => void progress.push({ loaded, total });
          const clip = await window.ClipEncoder.load(url, { first: "text", onProgress, ...verified });
          const towers = [clip.info.towers];
          const text = (await clip.embedText(["a dog"])).data[0];
          const image = (await clip.embedImage([window.cat])).data[0];
          await clip.loaded;
          towers.push(clip.info.towers);
          return { towers, text, image, progress };
        },
        { url, verified },
      );
      assert.deepEqual(towers, [["text"], ["text", "vision"]]);
      assert.deepEqual({ text, image }, right);
      const totals = new Set(progress.map(({ total }) => total));
      assert.ok(totals.size === 1 || (totals.size === 2 && totals.has(null)), String([...totals]));
      const last = progress.at(-1);
      assert.ok(last);
      assert.equal(last.loaded, last.total);
      assert.equal((await kept(page))[0]?.verified, verified !== undefined && "sha256" in verified);
      await deleteKept(page, url);
    }
  });

  test("and a failure after the first tower only affects the other one", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ silentAfter: (from) => (from === 0 ? 4_450_000 : 0) });
    const outcome = await page.evaluate(async (url) => {
      const clip = await window.ClipEncoder.load(url, { first: "text", idleTimeout: 1000 });
      const codes = [await clip.loaded.catch(({ code }) => code), await clip.embedImage([window.cat]).catch(({ code }) => code)];
      return { codes, text: (await clip.embedText(["a dog"])).data[0], towers: clip.info.towers };
    }, url);
    assert.deepEqual(outcome, { codes: ["network", "network"], text: right.text, towers: ["text"] });
  });

  test("in the Cache API if there is no private file system", async (t) => {
    const page = await apiPage(site, t, script(removeFileSystem));
    await page.evaluate(removeFileSystem);
    const url = serve({ cutAfter: () => 1_000_000 });
    assertRight(await load(page, url));
    assert.equal((await kept(page))[0]?.keptSize, size);
    await assertKept(page, url);
    await deleteKept(page, url);
    assert.deepEqual(await kept(page), []);
  });

  test("in the Cache API; a load that ended before its first piece was complete is not listed", async (t) => {
    const page = await apiPage(site, t, script(removeFileSystem));
    const url = serve({ silentAfter: () => 1_000_000 });
    await beginLoad(page, url);
    const known = () => page.evaluate(async () => (await (await caches.open("clip-wasm-models")).keys()).length);
    await waitUntil("an entry in the Cache API", async () => (await known()) > 0);
    await page.reload();
    await openApi(page);
    await page.evaluate(removeFileSystem);
    assert.deepEqual(await kept(page), []);
  });

  test("and listed even while another tab writes and changes a file that is being read", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    assertRight(await load(page, url));
    const read = await page.evaluate(async () => {
      const { text } = Blob.prototype;
      let reads = 0;
      Blob.prototype.text = function () {
        return reads++ < 2 ? Promise.reject(new DOMException("it has changed", "NotReadableError")) : text.call(this);
      };
      return { urls: (await window.keptModels()).map(({ url }) => url), reads };
    });
    assert.deepEqual(read, { urls: [url], reads: 3 });
  });

  test("except if there is neither: the model runs, with a warning", async (t) => {
    const closeCaches = () => {
      CacheStorage.prototype.open = async () => {
        throw new DOMException("private", "SecurityError");
      };
    };
    const page = await apiPage(site, t, script(removeFileSystem) + script(closeCaches));
    const outcome = await load(page, serve());
    assertRight(outcome);
    assert.deepEqual(outcome.warnings, ["not_kept: the model is not kept for the next visit: this browser keeps no files for this page"]);
    record({ section: "faults", what: "a browser that stores nothing", tried: "neither private file system nor Cache API", outcome: "the model runs, with a warning" });
  });

  test("except if the site's quota is too small: the model runs, with a warning", async (t) => {
    const fillUp = () => {
      StorageManager.prototype.estimate = async () => ({ quota: 5e6, usage: 3e6 });
    };
    const page = await apiPage(site, t, script(fillUp));
    const outcome = await load(page, serve());
    assertRight(outcome);
    assert.equal(outcome.warnings.length, 1);
    assert.match(String(outcome.warnings[0]), /^not_kept: .+ takes 5 MB, but this site has only 2 MB of storage left; delete/);
    assert.deepEqual(await kept(page), []);
    record({ section: "faults", what: "a full disk, before a download", tried: "2 MB of room for 5 MB", outcome: "nothing is kept; the model runs, with a warning" });
  });

  test("except if the disk fills up halfway: the model runs, with a warning, and the stored half is deleted", async (t) => {
    const fillUp = () => {
      const { prototype } = /** @type {any} */ (self).FileSystemSyncAccessHandle; // which only workers have
      const { write } = prototype;
      let room = 2e6;
      prototype.write = function (/** @type {Uint8Array} */ bytes, /** @type {object} */ options) {
        if ((room -= bytes.length) < 0) throw new DOMException("full", "QuotaExceededError");
        return write.call(this, bytes, options);
      };
    };
    const page = await apiPage(site, t, script(fillUp));
    const outcome = await load(page, serve());
    assertRight(outcome);
    assert.equal(outcome.warnings.length, 1);
    assert.match(String(outcome.warnings[0]), /^not_kept: .+ full; delete kept models/);
    assert.deepEqual(await kept(page), []);
    record({ section: "faults", what: "a full disk, during a download", tried: "QuotaExceededError after 2 MB", outcome: "the stored part is deleted; the model runs, with a warning" });
  });
});

describe("a stored model that was damaged", () => {
  /**
   * An operation on the two files of a model, which are open for writing.
   * @typedef {(files: { file: FileSystemWritableFileStream, about: FileSystemWritableFileStream }) => Promise<void>} Damage
   */

  /**
   * A page with a damaged stored model.
   * @param {import("node:test").TestContext} t
   * @param {Damage} damage
   */
  async function damaged(t, damage) {
    const page = await apiPage(site, t);
    const url = serve();
    assertRight(await load(page, url));
    const files = await page.evaluateHandle(async () => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("clip-wasm-models");
      for await (const folder of root.values()) {
        if (!(folder instanceof FileSystemDirectoryHandle)) continue;
        const open = async (/** @type {string} */ name) => (await folder.getFileHandle(name)).createWritable({ keepExistingData: true });
        return { file: await open("0"), about: await open("about.json") };
      }
      throw new Error("nothing is kept");
    });
    await files.evaluate(damage);
    await files.evaluate(({ file, about }) => Promise.all([file.close(), about.close()]));
    return { page, url };
  }

  for (const [name, damage] of /** @type {[string, Damage][]} */ ([
    ["is cut short", ({ file }) => file.truncate(2_000_000)],
    ["is empty", ({ file }) => file.truncate(0)],
    ["has lost what is known of it", ({ about }) => about.truncate(0)],
    ["has nonsense for what is known of it", ({ about }) => about.write({ type: "write", position: 0, data: "[" })],
  ])) {
    test(`${name}: the next load fetches what it lacks`, async (t) => {
      const { page, url } = await damaged(t, damage);
      assertRight(await load(page, url));
      await assertKept(page, url);
      record({ section: "faults", what: `a kept model that ${name}`, tried: "once", outcome: "the next load downloads what is missing, and keeps it" });
    });
  }

  test("has wrong bytes in its header: the next load fails with that error, and the one after fetches it again", async (t) => {
    const { page, url } = await damaged(t, ({ file }) => file.write({ type: "write", position: 100, data: new Uint8Array(2000).fill(255) }));
    assert.match(String((await load(page, url)).code), /^(malformed|truncated)_model$/);
    assert.deepEqual(await kept(page), []);
    assertRight(await load(page, url));
    record({ section: "faults", what: "a kept model that has other bytes in its header", tried: "2,000 bytes", outcome: "the next load fails and deletes it; the one after downloads it again" });
  });
});

describe("two loads of one model", () => {
  test("in two tabs fetch it only once", async (t) => {
    const page = await apiPage(site, t);
    const tab = await page.context().newPage();
    await tab.goto(`${site.own.origin}/empty.html`);
    await openApi(tab);
    const url = serve({ bytesPerSecond: 8_000_000 });
    for (const outcome of await Promise.all([load(page, url), load(tab, url), load(page, url)])) assertRight(outcome);
    assert.equal(site.hub.ranges.length, 1);
    for (const outcome of await Promise.all([load(page, url), load(tab, url)])) assertRight(outcome);
    assert.equal(site.hub.ranges.length, 1);
  });

  test("continue in the other tab when one is closed", async (t) => {
    const page = await apiPage(site, t);
    const tab = await page.context().newPage();
    await tab.goto(`${site.own.origin}/empty.html`);
    await openApi(tab);
    const url = serve({ silentAfter: (from) => (from === 0 ? 2_000_000 : Infinity) });
    await beginLoad(tab, url);
    await waitUntil("the received bytes are stored", async () => (await kept(tab))[0]?.keptSize === 2_000_000);
    const waiting = load(page, url);
    await pause(200); // until the second tab waits
    assert.equal(site.hub.ranges.length, 1);
    await tab.close();
    assertRight(await waiting);
    assert.equal(site.hub.ranges[1], `2000000-${size - 1}`);
    record({ section: "faults", what: "two tabs that load one model, of which one is closed", tried: "halfway", outcome: "the other one resumes" });
  });
});

describe("memory", () => {
  test("the weights and 32 MB are enough to load a full-size model", async (t) => {
    const page = await apiPage(site, t);
    const url = `${site.hub.origin}/vit-b-32-gelu.q8_0.gguf`;
    const { memory, weights } = await page.evaluate(async (url) => (await window.ClipEncoder.load(url, { threads: 1 })).memory, url);
    assert.ok(weights > 150e6 && weights < 200e6, `${weights} bytes of weights`);
    assert.ok(memory <= weights + 32e6, `${memory - weights} bytes beside ${weights} of weights`);
  });

  test("a model that is probably too large for this device is refused by its header, and loads with ignoreMemory", async (t) => {
    const shrinkMemory = () => Object.defineProperty(navigator, "deviceMemory", { value: 0.125 });
    const page = await apiPage(site, t, script(shrinkMemory));
    // The error comes before the whole file has: the rest is never sent.
    const url = serve({ silentAfter: () => 3_000_000 });
    const { code, message } = await load(page, url, { idleTimeout: 60_000 });
    assert.equal(code, "low_memory");
    assert.match(message, /takes 0\.1 GB of memory, .+ choose a smaller model/);
    serve();
    assertRight(await load(page, url, { ignoreMemory: true }));
  });

  test("the end of a worker by the browser is reported, and the next load works", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ silentAfter: (from) => (from === 0 ? 1_000_000 : Infinity) });
    await beginLoad(page, url);
    await waitUntil("the received bytes are stored", async () => (await kept(page))[0]?.keptSize === 1_000_000);
    await modelWorkers(page)[0]?.evaluate(() => self.close());
    const { code, message } = await page.evaluate(() => window.loading);
    assert.equal(code, "worker_failed");
    assert.match(message, /has ended the encoder's worker; load the model again/);
    assertRight(await load(page, url));
  });
});
