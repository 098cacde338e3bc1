// A worker that dies is replaced: the call that killed it fails, and no other.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { record } from "../../reliability/record.mjs";
import { REPOSITORY, Site, TINY_MODEL } from "../support/browser.mjs";
import { addDeaths, END, MORTAL, setFates, TRAP, withTableExported } from "../support/deaths.mjs";
import { apiPage, openApi } from "../support/loads.mjs";
import { StaticServer, status } from "../support/server.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { LoadOptions } from "../../../www/clip.js" */

const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const OTHER_MODEL = join(REPOSITORY, "www/models/demo.gguf");
const MODEL = "/m.gguf";
/** The message of a call that killed a worker. */
const FAILED = /restarts by itself, and the next call works: if an input causes this again/;

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A page whose workers can die.
 * @param {TestContext} t
 * @param {string[]} [fates] of the workers that load
 */
async function mortalPage(t, fates = []) {
  const page = await apiPage(site, t, MORTAL);
  const loads = setFates(site.own, fates);
  await addDeaths(page);
  return { page, loads };
}

/** @param {string} [model] */
function serve(model = TINY_MODEL, faults = {}) {
  return site.hub.parts(MODEL, model, faults);
}

/** @param {unknown} told */
function assertFailed(told) {
  assert.match(String(told), /^worker_failed: /);
  assert.match(String(told), FAILED);
}

describe("a worker that dies is replaced", () => {
  for (const [how, expected] of /** @type {const} */ ([
    [TRAP, /the worker stopped \(RuntimeError: .+\), perhaps because memory ran out/],
    [END, /the browser has ended the encoder's worker/],
  ])) {
    test(`after a text and after an image, ${how}: only those two fail, and queued calls are answered`, async (t) => {
      const { page, loads } = await mortalPage(t);
      const url = serve();
      const { want, got, tokens, warnings, info, left } = await page.evaluate(
        async ({ url, how }) => {
          const { ClipEncoder, cat, held, image, onWarning, told, warnings } = window;
          const clip = await ClipEncoder.load(url, { onWarning });
          const info = JSON.stringify(clip.info);
          const want = await Promise.all([told(clip.embedText(["a dog"])), told(clip.embedImage([cat]))]);
          const bytes = cat.slice();
          const calls = [
            clip.embedText(["a dog"]), clip.embedText([how]), clip.embedText(["a dog"]), clip.embedImage([bytes]),
            clip.embedImage([image(how)]), clip.embedImage([bytes.buffer]),
          ];
          const [tokens, ...got] = await Promise.all([clip.tokenize(["a dog"]), ...calls.map(told)]);
          clip.close();
          return { want, got, tokens, warnings, info: [info, JSON.stringify(clip.info)], left: await held() };
        },
        { url, how },
      );
      const [text, image] = want;
      assert.ok(Array.isArray(text) && Array.isArray(image), String(want));
      for (const [index, wanted] of [text, null, text, image, null, image].entries()) {
        if (wanted) assert.deepEqual(got[index], wanted, `call ${index}`);
        else assert.match(String(assertFailed(got[index]) ?? got[index]), expected);
      }
      assert.equal(tokens[0]?.count, 4);
      assert.equal(warnings.length, 2, warnings.join("\n"));
      assert.match(String(warnings[0]), /^worker_replaced: .+; another worker replaces it and loads the model again$/);
      assert.equal(info[1], info[0]);
      assert.equal(left, 0, "no worker is left");
      assert.deepEqual(loads, ["all", "all", "all"]);
      assert.deepEqual(site.hub.ranges, [""], "what was kept serves");
      const what = how === TRAP ? "the wasm module traps" : "the browser ends the worker";
      record({ section: "faults", what, tried: "in a text, in an image, in a batch, in one thread and in several", outcome: "only that input fails; the next call works, with equal vectors" });
    });
  }

  test("with the model from the same source: from bytes, and from a URL of which nothing is stored", async (t) => {
    const { page } = await mortalPage(t);
    const url = serve();
    const outcomes = await page.evaluate(async (url) => {
      const { ClipEncoder, TRAP, told } = window;
      const bytes = await (await fetch(url)).arrayBuffer();
      const outcomes = [];
      for (const [source, options] of /** @type {[ArrayBuffer | string, LoadOptions][]} */ ([[bytes, {}], [url, { keep: false }], [url, { keep: false, towers: ["text"] }]])) {
        const clip = await ClipEncoder.load(source, options);
        const want = await told(clip.embedText(["a dog"]));
        await told(clip.embedText([TRAP]));
        outcomes.push({ want, got: await told(clip.embedText(["a dog"])), towers: clip.info.towers.length });
        clip.close();
      }
      return outcomes;
    }, url);
    for (const { want, got } of outcomes) assert.deepEqual(got, want);
    assert.deepEqual(outcomes.map(({ towers }) => towers), [2, 2, 1]);
    assert.deepEqual(site.hub.ranges.map((range) => range.split("-")[0]).slice(0, 3), ["", "", ""]);
  });

  test("at most three times in a row, then the encoder is lost; a call that works restarts the count", async (t) => {
    const { page, loads } = await mortalPage(t);
    const { outcomes, warnings, left } = await page.evaluate(async (url) => {
      const { ClipEncoder, END, TRAP, held, onWarning, told, warnings } = window;
      const clip = await ClipEncoder.load(url, { onWarning });
      const outcomes = [];
      for (const text of [TRAP, "a", TRAP, END, TRAP, "b", TRAP, TRAP, TRAP, TRAP, "c"]) outcomes.push(await told(clip.embedText([text])));
      return { outcomes, warnings, left: await held() };
    }, serve());
    const codes = outcomes.map((told) => (typeof told === "string" ? told.split(":")[0] : "vector"));
    const [failed, lost] = ["worker_failed", "encoder_lost"];
    assert.deepEqual(codes, [failed, "vector", failed, failed, failed, "vector", failed, failed, failed, lost, lost]);
    assert.match(String(outcomes.at(-1)), /as did the 3 workers before it; load the model again/);
    assert.equal(warnings.length, 7);
    assert.equal(loads.length, 8);
    assert.equal(left, 0, "no worker is left");
  });

  test("and while the model loads again, close ends it, and a signal ends the waiting", async (t) => {
    const { page } = await mortalPage(t);
    const url = serve(TINY_MODEL, { bytesPerSecond: 8_000_000 });
    const { aborted, closed, milliseconds, left } = await page.evaluate(async (url) => {
      const { ClipEncoder, TRAP, cat, held, onWarning, told } = window;
      const clip = await ClipEncoder.load(url, { keep: false, onWarning });
      const dead = told(clip.embedText([TRAP]));
      const abort = new AbortController();
      const text = told(clip.embedText(["a"], { signal: abort.signal }));
      const waiting = [told(clip.embedImage([cat])), told(clip.loadTowers(["text"]))];
      await dead;
      await new Promise((resolve) => setTimeout(resolve, 100));
      const start = performance.now();
      abort.abort();
      const aborted = await text;
      clip.close();
      const closed = [await waiting[0], await waiting[1], await told(clip.embedText(["a"]))];
      const milliseconds = performance.now() - start;
      return { aborted, closed, milliseconds, left: await held() };
    }, url);
    assert.match(String(aborted), /^aborted/);
    assert.match(String(closed[0]), /^closed/);
    assert.equal(closed[1], "done", "the tower was loaded before");
    assert.match(String(closed[2]), /^closed/);
    assert.ok(milliseconds < 100, `${milliseconds} ms`);
    assert.equal(left, 0);
  });
});

describe("a load during which the worker dies", () => {
  test("is started again once: for a further tower, and for the tower after the first", async (t) => {
    const { page, loads } = await mortalPage(t, ["", "end"]);
    const url = serve();
    const { want, image, loaded, text, towers, warnings } = await page.evaluate(async (url) => {
      const { ClipEncoder, cat, onWarning, told, warnings } = window;
      const clip = await ClipEncoder.load(url, { towers: ["text"], onWarning });
      const want = await told(clip.embedText(["a dog"]));
      const loading = told(clip.loadTowers(["vision"]));
      const image = await told(clip.embedImage([cat]));
      return { want, image, loaded: await loading, text: await told(clip.embedText(["a dog"])), towers: clip.info.towers, warnings };
    }, url);
    assert.equal(image.length, 64, String(image));
    assert.deepEqual([loaded, text], ["done", want]);
    assert.deepEqual([towers, warnings.length], [["text", "vision"], 1]);
    assert.deepEqual(loads, ["text", "vision", "text", "vision"]);

    const slow = serve(TINY_MODEL, { silentAfter: (/** @type {number} */ from) => (from === 0 ? 4_450_000 : Infinity) });
    site.hub.ranges.length = loads.length = 0;
    const { outcomes, towers: found } = await page.evaluate(async (url) => {
      const { ClipEncoder, TRAP, cat, deleteKeptModel, onWarning, told } = window;
      await deleteKeptModel(url);
      const clip = await ClipEncoder.load(url, { first: "text", onWarning });
      const towers = [clip.info.towers];
      const outcomes = [told(clip.embedText([TRAP])), told(clip.embedText(["a dog"])), told(clip.embedImage([cat]))];
      await clip.loaded;
      return { outcomes: await Promise.all(outcomes), towers: [...towers, clip.info.towers] };
    }, slow);
    assertFailed(outcomes[0]);
    assert.deepEqual([outcomes[1], outcomes[2]], [want, image]);
    assert.deepEqual(found, [["text"], ["text", "vision"]]);
    assert.deepEqual(loads, ["all", "text", "vision"]);
    assert.ok(site.hub.sent < 2.2 * statSync(TINY_MODEL).size, `${site.hub.sent} bytes for both loads: it goes on from what was kept`);
    record({ section: "faults", what: "a worker dies while a tower is loaded", tried: "while a further one is loaded, and while the second follows the first", outcome: "the load starts again, once, from what is kept; calls wait for it" });
  });

  test("twice fails, and leaves the loaded towers; the first load fails at once", async (t) => {
    const { page } = await mortalPage(t, ["end", "", "end", "", "end"]);
    const { first, second, text, image } = await page.evaluate(async (url) => {
      const { ClipEncoder, cat, onWarning, told } = window;
      const first = await ClipEncoder.load(url).then(() => "loaded", ({ code, message }) => `${code}: ${message}`);
      const clip = await ClipEncoder.load(url, { towers: ["text"], onWarning });
      const second = await told(clip.loadTowers(["vision"]));
      const text = (await clip.embedText(["a"])).data[0];
      await clip.loadTowers(["vision"]);
      return { first, second, text, image: (await clip.embedImage([cat])).data[0] };
    }, serve());
    assert.match(first, /^worker_failed: the browser has ended the encoder's worker; load the model again$/);
    assertFailed(second);
    assert.deepEqual([text?.length, image?.length], [64, 64]);
  });

  for (const [name, spoil, expected] of /** @type {const} */ ([
    ["a server that has no more than 404", () => site.hub.answer(MODEL, status(404)), /could not be loaded again: .+ answered 404.*; load the model again$/],
    ["another model at its address", () => serve(OTHER_MODEL), /could not be loaded again: another model is at its address now; load the model again$/],
    ["workers that die", () => setFates(site.own, Array(9).fill("end")), /as did the 3 workers before it; load the model again$/],
  ])) {
    test(`the second time, for ${name}, loses the encoder and says why`, async (t) => {
      const { page } = await mortalPage(t);
      await page.evaluate(async (url) => void (window.clip = await window.ClipEncoder.load(url, { keep: false, onWarning: window.onWarning })), serve());
      spoil();
      const { failed, lost, left } = await page.evaluate(async () => {
        const { TRAP, cat, clip, held, told } = window;
        const failed = await told(clip.embedText([TRAP]));
        const lost = [await told(clip.embedText(["a"])), await told(clip.embedImage([cat]))];
        return { failed, lost, left: await held() };
      });
      assertFailed(failed);
      for (const told of lost) {
        assert.match(String(told), /^encoder_lost: /);
        assert.match(String(told), expected);
      }
      assert.equal(left, 0, "no worker is left");
    });
  }
});

describe("a batch", () => {
  test("loses only the pictures that kill workers, with helpers and without", async (t) => {
    const { page } = await mortalPage(t);
    const { rounds, all, again, left } = await page.evaluate(async (url) => {
      const { ClipEncoder, END, END_HELPER, TRAP, cat, held, image, onWarning, told } = window;
      Object.defineProperty(navigator, "hardwareConcurrency", { value: 2 });
      const clip = await ClipEncoder.load(url, { onWarning });
      // The first worker embeds also what only helpers die of.
      const { data } = await clip.embedImage([cat, image(END_HELPER)]);
      const rounds = [];
      for (const [count, marks] of /** @type {[number, Record<number, string>][]} */ ([
        [10, { 3: TRAP, 7: END }],
        [5, { 0: END, 1: END, 2: END }],
        [64, { 20: TRAP, 40: END, 60: TRAP }],
        [64, { 30: END_HELPER, 31: END_HELPER, 50: END_HELPER, 51: END_HELPER }],
      ])) {
        const images = Array.from({ length: count }, (_, i) => image(marks[i] ?? ""));
        /** @type {{ right: number, failed: [number, string][], wrong: number[] }} */
        const round = { right: 0, failed: [], wrong: [] };
        for await (const outcome of clip.embedEach(images)) {
          if ("error" in outcome) round.failed.push([outcome.index, outcome.error.code]);
          else if (outcome.vector.every((value, i) => value === data[marks[outcome.index] ? 1 : 0]?.[i])) round.right++;
          else round.wrong.push(outcome.index);
        }
        round.failed.sort(([a], [b]) => a - b);
        rounds.push(round);
      }
      const all = await told(clip.embedImage([cat, image(TRAP), cat]));
      const again = (await clip.embedImage([cat, cat])).data.length;
      clip.close();
      return { rounds, all, again, left: await held() };
    }, serve());
    const failed = (/** @type {number[]} */ ...indices) => indices.map((index) => [index, "worker_failed"]);
    assert.deepEqual(rounds, [
      { right: 8, failed: failed(3, 7), wrong: [] },
      { right: 2, failed: failed(0, 1, 2), wrong: [] },
      { right: 61, failed: failed(20, 40, 60), wrong: [] },
      { right: 64, failed: [], wrong: [] },
    ]);
    assertFailed(all);
    assert.equal(again, 2);
    assert.equal(left, 0);
    record({ section: "faults", what: "an additional worker dies", tried: "batches of 64 pictures on two workers", outcome: "only pictures that also kill the first worker are lost" });
  });
});

describe("with threads", () => {
  /** @type {StaticServer} */
  let isolated;
  before(async () => (isolated = await new StaticServer(join(REPOSITORY, "www"), ISOLATION).start()));
  after(() => isolated.stop());

  /**
   * @param {TestContext} t
   * @param {string} [workerScript]
   */
  async function isolatedPage(t, workerScript = "") {
    const page = await site.emptyPage(t);
    isolated.reset();
    isolated.answer("/", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><link rel=icon href=data:,>"));
    const source = readFileSync(join(REPOSITORY, "www/pkg/workers/model-worker.js"), "utf8");
    isolated.answer("/pkg/workers/model-worker.js", (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(`${workerScript}\n${source}`));
    const module = withTableExported(readFileSync(join(REPOSITORY, "www/pkg/relaxed-threads/clip_wasm_bg.wasm")));
    isolated.answer("/pkg/relaxed-threads/clip_wasm_bg.wasm", (_request, response) => void response.writeHead(200, { "content-type": "application/wasm" }).end(module));
    await page.goto(`${isolated.origin}/icon.svg`);
    await page.goto(`${isolated.origin}/`);
    await openApi(page);
    await addDeaths(page);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    return page;
  }

  /** The number of the page's workers, threads included, without the one that reads pictures. @param {Page} page */
  async function workers(page) {
    const session = await /** @type {any} */ (page.context().browser()).newBrowserCDPSession();
    const { targetInfos } = await session.send("Target.getTargets", { filter: [{ type: "worker" }] });
    await session.detach();
    return targetInfos.filter((/** @type {any} */ { url }) => url.startsWith(isolated.origin) && !url.endsWith("/picture-worker.js")).length;
  }

  /**
   * Chromium takes two seconds to end sleeping threads.
   * @param {Page} page
   * @param {number} count
   */
  async function assertWorkers(page, count) {
    for (let tries = 0; tries < 50 && (await workers(page)) !== count; tries++) await pause(100);
    assert.equal(await workers(page), count);
  }

  test("all of them end with the worker, and as many are started again", async (t) => {
    const page = await isolatedPage(t, MORTAL);
    setFates(isolated, []);
    const want = await page.evaluate(async (url) => {
      const { ClipEncoder, cat, onWarning, told } = window;
      window.clip = await ClipEncoder.load(url, { threads: 4, onWarning });
      return told(window.clip.embedImage([cat]));
    }, serve());
    await assertWorkers(page, 4);
    for (const how of [TRAP, END]) {
      const [failed, got] = await page.evaluate((how) => {
        const { cat, clip, image, told } = window;
        return Promise.all([clip.embedImage([image(how)]), clip.embedImage([cat])].map(told));
      }, how);
      assertFailed(failed);
      assert.deepEqual(got, want);
      assert.equal(await page.evaluate(() => window.clip.threads), 4);
    }
    await assertWorkers(page, 4);
    await page.evaluate(() => window.clip.close());
    assert.equal(await page.evaluate(() => window.held()), 0);
    await assertWorkers(page, 0);
  });

  test("one that traps while the worker waits for it fails only the running call", async (t) => {
    const page = await isolatedPage(t);
    const source = readFileSync(join(REPOSITORY, "www/pkg/workers/wasm-thread.js"), "utf8");
    const poisoned = source.replace("bindings.initSync({ module, memory });", `
      const { functions } = bindings.initSync({ module, memory });
      var isFirst = await (await fetch("/first")).text();
      if (isFirst) for (let i = 0; i < functions.length; i++) functions.set(i, null);`)
      .replace("bindings.joinPool();", "if (isFirst) await new Promise((resolve) => setTimeout(resolve, 1000));\nbindings.joinPool();");
    assert.notEqual(poisoned, source);
    let threads = 0;
    isolated.answer("/first", (_request, response) => void response.writeHead(200, { "cache-control": "no-store" }).end(threads++ === 0 ? "yes" : ""));
    isolated.answer("/pkg/workers/wasm-thread.js", (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(poisoned));
    const { want, failed, got, count, warnings } = await page.evaluate(async (url) => {
      const { ClipEncoder, onWarning, told, warnings } = window;
      const clip = await ClipEncoder.load(url, { threads: 2, onWarning });
      const want = await told(clip.embedText(["a dog"]));
      let failed = "";
      for (const start = performance.now(); !failed && performance.now() - start < 15_000; ) {
        const got = await told(clip.embedText(["a dog"]));
        if (typeof got === "string") failed = got;
      }
      const got = await told(clip.embedText(["a dog"]));
      clip.close();
      return { want, failed, got, count: clip.threads, warnings };
    }, serve());
    assertFailed(failed);
    assert.match(failed, /a thread of the encoder stopped \(RuntimeError: .+\)/);
    assert.deepEqual(got, want);
    assert.equal(count, 2);
    assert.equal(warnings.length, 1);
    assert.equal(threads, 2, "the second worker has a thread of its own");
    record({ section: "faults", what: "a thread of the wasm module traps", tried: "while its worker waits for it", outcome: "the page notices; only that input fails, and the next call works" });
  });
});

