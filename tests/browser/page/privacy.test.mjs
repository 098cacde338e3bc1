// Nothing is sent: requests go only to the page's own site and the chosen model's URL, the policy allows little, and
// the page counts correctly what is sent.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site } from "../support/browser.mjs";
import { RecordingProxy } from "../support/proxy.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { Page } from "playwright-core" */
/** @import { ClipPage } from "../support/browser.mjs" */

const MODEL = "/tiny-gelu.q8_0.gguf";
/** Chromium's own requests for pages with a form, about the kinds of its fields. */
const AUTOFILL = "content-autofill.googleapis.com:443";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {Page} page */
async function controlled(page) {
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
}

/**
 * A typical session: the sample, a model from its URL, a comparison of texts and images, a drawing.
 * @param {ClipPage} clip
 */
async function session(clip) {
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.settled();
  await clip.loadTinyModel();
  await clip.texts.fill("a photo of a cat\na photo of a rocket");
  await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "cat.avif"), join(FIXTURES, "rocket.jpg")]);
  await clip.embed();
  await clip.page.locator("#comparison table").waitFor();
  await clip.copied();
  await clip.page.getByRole("button", { name: "Draw…" }).click();
  await clip.page.locator("#drawing-canvas").click();
  await clip.thumbnails.filter({ hasText: "drawing.png" }).waitFor();
  await clip.settled();
  const download = clip.page.waitForEvent("download");
  await clip.page.getByRole("button", { name: /^Download/ }).click();
  await (await download).path();
}

test("a whole session only requests its own site and the model's URL, and sends no body", { timeout: 120_000 }, async (t) => {
  const proxy = await new RecordingProxy().start();
  t.after(() => proxy.stop());
  const clip = await site.visit(t, { proxy: { server: proxy.server } });
  await session(clip);
  await controlled(clip.page);
  await clip.page.reload(); // the page is isolated now, so it has threads
  await session(clip);

  const model = site.hub.origin + MODEL;
  const own = proxy.requests.filter(({ url }) => url.startsWith(`${site.own.origin}/`));
  for (const path of ["/", "/sw.js", "/pkg/workers/model-worker.js", "/pkg/workers/wasm-thread.js", "/models/demo.gguf"]) {
    assert.ok(own.some(({ url }) => new URL(url).pathname === path), `${path} is on the proxy's record`);
  }
  assert.ok(proxy.requests.some(({ url }) => url === model), "the model is on the proxy's record");
  const others = proxy.requests.filter(({ method, url, bytes }) => {
    const expected = url === model || (url.startsWith(`${site.own.origin}/`) && new URL(url).search === "");
    if (method === "CONNECT" && url === AUTOFILL) return false;
    return !expected || bytes > 0 || !["GET", "HEAD"].includes(method);
  });
  assert.deepEqual(others, []);
});

describe("the Content-Security-Policy", () => {
  test("is not violated by a whole session, and the console stays empty", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    /** @type {string[]} */
    const said = [];
    clip.page.on("console", (message) => {
      if (["warning", "error"].includes(message.type())) said.push(message.text());
    });
    await clip.page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
        console.error(`violated: ${violatedDirective} by ${blockedURI}`);
      });
    });
    await controlled(clip.page);
    site.own.reset();
    await clip.page.reload();
    await session(clip);
    assert.deepEqual(said, []);
  });

  /** @type {Record<string, (site: string) => void>} */
  const forbidden = {
    "a script in the page": () => document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = 1" })),
    "a script of another site": (site) => document.body.append(Object.assign(document.createElement("script"), { src: `${site}/any.js` })),
    "a picture of another site": (site) => void (new Image().src = `${site}/any.png`),
    "a frame": (site) => document.body.append(Object.assign(document.createElement("iframe"), { src: `${site}/` })),
    "a form that is sent": (site) => {
      const form = Object.assign(document.createElement("form"), { action: `${site}/`, method: "post" });
      document.body.append(form);
      form.submit();
    },
    "a socket": () => {
      try {
        new WebSocket("ws://example.test/");
      } catch {
        // what counts is the violation
      }
    },
    "another base": (site) => document.head.append(Object.assign(document.createElement("base"), { href: `${site}/` })),
  };
  for (const [what, attempt] of Object.entries(forbidden)) {
    test(`forbids ${what}`, async (t) => {
      const { page } = await site.newPageWithServiceWorker(t);
      const violated = page.evaluate(
        () => new Promise((resolve) => document.addEventListener("securitypolicyviolation", ({ violatedDirective }) => resolve(violatedDirective))),
      );
      await page.evaluate(attempt, site.hub.origin);
      const late = new Promise((_, reject) => setTimeout(() => reject(new Error("no violation within 5 s")), 5000).unref());
      assert.match(String(await Promise.race([violated, late])), /^[a-z-]+$/);
      assert.equal(await page.evaluate(() => "ran" in window), false);
      assert.deepEqual(site.hub.requests, []);
    });
  }
});

describe("the count", () => {
  /** @param {ClipPage} clip */
  const summary = (clip) => clip.page.locator("#traffic-summary");

  test("has the requests by host, as many as the servers received", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await controlled(clip.page);
    await clip.page.waitForFunction(() => document.querySelector("#offline")?.textContent === "Works offline");
    site.own.requests = [];
    await clip.page.reload();
    await clip.loadTinyModel();
    await clip.pickImages([join(FIXTURES, "cat.png")]);
    await clip.embed();
    const hub = new URL(site.hub.origin).host;
    // The browser looks for a new sw.js by itself.
    const own = () => site.own.requests.filter((path) => path !== "/sw.js").length;
    const counted = async () => (await summary(clip).textContent()) === `0 bytes of yours sent · ${own()} requests to this site, ${site.hub.requests.length} to ${hub} for the model`;
    await waitUntil("all requests are counted, and no others", counted);
    await clip.page.waitForTimeout(500);
    assert.ok(await counted(), String(await summary(clip).textContent()));
    await summary(clip).click();
    assert.deepEqual(await clip.page.locator("#traffic-hosts li").allTextContents(), [
      `${new URL(site.own.origin).host}: ${own()} requests`,
      `${hub}: ${site.hub.requests.length} request${site.hub.requests.length === 1 ? "" : "s"}`,
    ]);
  });

  test("grows with what the page sends to any host, and names the host", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await controlled(clip.page);
    site.hub.answer("/collect", (_request, response) => void response.writeHead(200, { "access-control-allow-origin": "*" }).end());
    await clip.page.evaluate((url) => fetch(url, { method: "POST", body: "twelve bytes" }), `${site.hub.origin}/collect`);
    await summary(clip).filter({ hasText: /^12 bytes of yours sent/ }).waitFor();
    await clip.page.evaluate((url) => fetch(url, { method: "PUT", body: new Uint8Array(100_000) }).catch(() => {}), `${site.own.origin}/put`);
    await summary(clip).filter({ hasText: /^100,012 bytes of yours sent/ }).waitFor();
    await clip.page.evaluate((url) => navigator.sendBeacon(url, "beacon"), `${site.own.origin}/beacon`);
    await summary(clip).filter({ hasText: /^100,018 bytes of yours sent/ }).waitFor();
    await summary(clip).click();
    const hosts = await clip.page.locator("#traffic-hosts li").allTextContents();
    assert.equal(hosts.filter((host) => host.endsWith("with a body that was sent there")).length, 2, hosts.join("\n"));
  });

  test("grows with what a worker sends", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await controlled(clip.page);
    site.own.answer("/poster.js", (_request, response) => {
      response.writeHead(200, { "content-type": "text/javascript" }).end(`fetch("/collect", { method: "POST", body: "seven b" });`);
    });
    await clip.page.evaluate(() => void new Worker("/poster.js"));
    await summary(clip).filter({ hasText: /^7 bytes of yours sent/ }).waitFor();
  });

  test("does not include requests that the page itself answers", async (t) => {
    const clip = await site.visit(t);
    await clip.page.locator("#comparison .verdict").waitFor();
    await controlled(clip.page);
    const before = await summary(clip).textContent();
    const status = await clip.page.evaluate(async () => {
      const headers = { "content-type": "application/json" };
      return (await fetch("api/predict/nlp/p/k", { method: "POST", headers, body: `{"inputs": ["a red star"]}` })).status;
    });
    assert.equal(status, 200);
    await clip.page.waitForTimeout(300);
    assert.equal(await summary(clip).textContent(), before);
  });
});
