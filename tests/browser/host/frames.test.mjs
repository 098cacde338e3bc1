// The page in places where browsers restrict it: in frames, and without storage.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { cosines, errorShown, hosted, launch, launchWithSettings, newPage, wantedCosines } from "../support/hosts.mjs";

/** @import { Browser, Frame, Page } from "playwright-core" */
/** @import { Answer } from "../support/server.mjs" */

/** The message of the Search view if nothing can be stored. */
const NOT_KEPT = /^Pictures that are indexed from now on are not kept for the next visit/;
const READABLE = { "access-control-allow-origin": "*" };

/** @type {Browser} */
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/**
 * A page that contains only a frame.
 * @param {string} url of the page in it
 * @param {string} [attributes] of the frame
 * @returns {Answer}
 */
function framing(url, attributes = "") {
  const html = `<!doctype html><link rel="icon" href="data:,"><iframe width="1200" height="800" src="${url}" ${attributes}></iframe>`;
  return (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end(html);
}

/**
 * @param {Page} page
 * @returns the page in the page's frame
 */
async function framed(page) {
  const frame = await (await page.waitForSelector("iframe")).contentFrame();
  if (!frame) throw new Error("no frame");
  return frame;
}

/**
 * The kinds of storage that the browser allows a page to use.
 * @param {Page | Frame} place
 * @returns {Promise<string[]>}
 */
async function allowed(place) {
  return place.evaluate(async () => {
    /** @type {Record<string, () => unknown>} */
    const ways = {
      localStorage: () => localStorage.length,
      indexedDB: () =>
        new Promise((resolve, reject) => {
          const request = indexedDB.open("allowed");
          request.onsuccess = resolve;
          request.onerror = reject;
        }),
      caches: () => caches.keys(),
      storage: () => navigator.storage.getDirectory(),
      serviceWorker: () => navigator.serviceWorker.register("sw.js"),
    };
    const names = [];
    for (const [name, way] of Object.entries(ways)) {
      try {
        await way();
        names.push(name);
      } catch {
        // as expected
      }
    }
    return names;
  });
}

describe("in a sandboxed frame", () => {
  test("of the same site, with allow-same-origin: all works, isolated on the second visit", async (t) => {
    const host = await hosted(t);
    host.answer("/framing.html", framing("/", 'sandbox="allow-scripts allow-same-origin"'));
    const want = await wantedCosines(t, browser);
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/framing.html`);
    const frame = await framed(page);
    assert.deepEqual(await cosines(frame), want);
    await frame.locator("#offline").filter({ hasText: /^Works offline$/ }).waitFor();
    await page.reload();
    const again = await framed(page);
    assert.deepEqual(await cosines(again), want);
    assert.equal(await again.evaluate(() => crossOriginIsolated), true);
    record({ section: "hosts", what: "a sandboxed frame with allow-same-origin", tried: "first visit, second visit", outcome: "the same cosines; threads at the second visit" });
  });

  test("without an origin, on a host that lets others read its files: it embeds, and stores nothing", async (t) => {
    const host = await hosted(t, { headers: READABLE });
    host.answer("/framing.html", framing("/", 'sandbox="allow-scripts"'));
    const want = await wantedCosines(t, browser);
    const { page, said } = await newPage(t, browser);
    await page.goto(`${host.origin}/framing.html`);
    const frame = await framed(page);
    assert.deepEqual(await cosines(frame), want);
    assert.equal(await frame.evaluate(() => origin), "null");
    assert.deepEqual(await allowed(frame), []);
    assert.equal(await frame.locator("#kept").isVisible(), false);
    assert.match(String(await frame.locator("#traffic-summary").textContent()), /^\d+ requests to this site$/);
    await frame.locator("a", { hasText: "Search pictures" }).click();
    await frame.locator("#search-note").filter({ hasText: NOT_KEPT }).waitFor();
    assert.deepEqual(said, []);
    record({ section: "hosts", what: "a sandboxed frame without an origin, files with CORS", tried: "no storage, no service worker, no module worker", outcome: "the same cosines, on one thread; nothing is kept, and Search says so" });
  });

  test("without an origin, on a host that does not: the page says what to change", async (t) => {
    const host = await hosted(t);
    host.answer("/framing.html", framing("/", 'sandbox="allow-scripts"'));
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/framing.html`);
    const shown = await errorShown(await framed(page), "#not-started");
    assert.equal(shown.code, "sandboxed");
    assert.match(shown.text, /sandboxed frame.*allow-same-origin.*Access-Control-Allow-Origin/);
    record({ section: "hosts", what: "a sandboxed frame without an origin, files without CORS", tried: "first visit", outcome: "no script can run; a notice says what to allow" });
  });
});

/**
 * @param {import("node:test").TestContext} t
 * @returns {Promise<string>} the URL of a page with this one in a frame. The browser treats it as another site, and as
 *   equally secure
 */
async function otherSite(t) {
  const [host, other] = [await hosted(t), await hosted(t)];
  return other.answer("/framing.html", framing(`${host.origin}/`)).replace("127.0.0.1", "localhost");
}

test("in a frame of another site, with storage of its own: two visits", async (t) => {
  const url = await otherSite(t);
  const want = await wantedCosines(t, browser);
  // Not a private window, because there such a frame cannot store anything.
  const { page, said } = await newPage(t, await launchWithSettings(t, { cookie_controls_mode: 0 }));
  await page.goto(url);
  const frame = await framed(page);
  assert.deepEqual(await cosines(frame), want);
  await frame.locator("#offline").filter({ hasText: /^Works offline$/ }).waitFor();
  await page.reload();
  const again = await framed(page);
  assert.deepEqual(await cosines(again), want);
  await again.waitForFunction(() => navigator.serviceWorker.controller !== null);
  assert.deepEqual(said, []);
  record({ section: "hosts", what: "a frame of another site, storage partitioned", tried: "first visit, second visit", outcome: "the same cosines, on one thread; kept for that site's visits" });
});

describe("if the user forbids all sites to store anything", () => {
  test("it embeds, stores nothing and says nothing wrong", async (t) => {
    const host = await hosted(t);
    const want = await wantedCosines(t, browser);
    const context = await launchWithSettings(t, { default_content_setting_values: { cookies: 2 } });
    const { page } = await newPage(t, context);
    await page.goto(`${host.origin}/`);
    assert.deepEqual(await cosines(page), want);
    assert.deepEqual(await allowed(page), []);
    assert.equal(await page.locator(".error").count(), 0);
    await page.locator("a", { hasText: "Search pictures" }).click();
    await page.locator("#search-note").filter({ hasText: NOT_KEPT }).waitFor();
    record({ section: "hosts", what: "a browser whose user lets no site store anything", tried: "localStorage, IndexedDB, OPFS, Cache API and service workers forbidden", outcome: "the same cosines; nothing is kept, and Search says so" });
  });

  test("it also embeds in a private window, in a frame of another site", async (t) => {
    const url = await otherSite(t);
    const want = await wantedCosines(t, browser);
    const { page } = await newPage(t, browser);
    await page.goto(url);
    const frame = await framed(page);
    assert.deepEqual(await cosines(frame), want);
    assert.deepEqual(await allowed(frame), []);
    assert.equal(await frame.locator(".error").count(), 0);
    record({ section: "hosts", what: "a frame of another site, which may store nothing", tried: "first visit", outcome: "the same cosines" });
  });
});
