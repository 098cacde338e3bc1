// The timeline of an input: what it shows to eyes and to screen readers, and the report that its button copies.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { REPOSITORY, Site } from "../support/browser.mjs";

/** @import { Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */
/** @import { ImageTimings } from "../../../www/clip.js" */

/** @type {ImageTimings} */
const TIMINGS = { index: 0, read: 0, decode: 60, resize: 10, tower: 120, batch: 4, waiting: 10, decoder: "browser", total: 200 };

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A page with the page's own policy, and a timeline.
 * @param {TestContext} t
 * @returns {Promise<Page>}
 */
async function pageWithTimeline(t) {
  const [policy] = /<meta http-equiv="content-security-policy"[^>]+>/.exec(readFileSync(join(REPOSITORY, "www/index.html"), "utf8")) ?? [];
  assert.ok(policy);
  const page = await site.emptyPage(t);
  site.own.answer("/empty.html", (_request, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><meta charset=utf-8>${policy}<link rel=icon href=/icon.svg><link rel=stylesheet href=/style.css><main></main>`);
  });
  await page.reload();
  await page.evaluate(async (timings) => {
    const { showTimeline } = await import("/page/embed/timeline.js");
    const info = /** @type {any} */ ({ name: "ViT-B/32", type: "q8_0", size: 161_238_400 });
    /** @type {import("../../../www/clip.js").ClipEncoder["device"]} */
    const device = { name: "wasm", build: "relaxed-threads", products: "signed bytes" };
    const place = /** @type {HTMLElement} */ (document.querySelector("main"));
    for (let round = 0; round < 2; round++) showTimeline(place, timings, { device, threads: 8, info });
  }, TIMINGS);
  return page;
}

test("each stage has its part of the bar, and its milliseconds as text", async (t) => {
  const page = await pageWithTimeline(t);
  const list = page.getByRole("list", { name: "Time of this input: 200 ms" });
  assert.deepEqual(await list.getByRole("listitem").allInnerTexts(), ["read 0.00 ms", "decode 60.0 ms by the browser", "resize 10.0 ms", "tower 120 ms for 4 images together", "waiting 10.0 ms"]);
  const grown = await page.locator(".timeline .bar > *").evaluateAll((parts) => parts.map((part) => [part.className, Number(getComputedStyle(part).flexGrow)]));
  assert.deepEqual(grown, [["read", 0], ["decode", 60], ["resize", 10], ["tower", 120], ["waiting", 10]]);
  assert.equal(await page.getByText("200 ms in all · 8 threads · relaxed-threads · signed bytes · ViT-B/32 · q8_0", { exact: true }).count(), 1);
});

test("the report is copied", async (t) => {
  const page = await pageWithTimeline(t);
  await page.getByRole("button", { name: "Copy report" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const report = await page.evaluate(() => navigator.clipboard.readText());
  const agent = await page.evaluate(() => navigator.userAgent);
  const version = /^version = "(.+)"$/m.exec(readFileSync(join(REPOSITORY, "Cargo.toml"), "utf8"))?.[1];
  for (const line of [`clip-wasm: ${version}`, "model: ViT-B/32, q8_0, 161.2 MB", `browser: ${agent}`, "cross-origin isolated: no", "tower: 120 ms, for 4 images together", "total: 200 ms"]) {
    assert.ok(report.split("\n").includes(line), `${line} is not in\n${report}`);
  }
  await page.getByRole("button", { name: "Copy report" }).waitFor();
});

test("where nothing can be copied by itself, the report is shown, selected", async (t) => {
  const page = await pageWithTimeline(t);
  const shown = await page.evaluate(() => {
    Object.defineProperty(navigator, "clipboard", { value: undefined });
    document.querySelector("button")?.click();
    return new Promise((resolve) => setTimeout(() => resolve(String(getSelection()))));
  });
  assert.match(String(shown), /^clip-wasm: .+\ntotal: 200 ms\n?$/s);
});

test("the page shows it for the last input of a run", async (t) => {
  const clip = await site.visit(t);
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.settled();
  await clip.page.getByText("Where the time went for hearts.png").click();
  const stages = await clip.page.locator("#timeline .stages li").allInnerTexts();
  assert.deepEqual(stages.map((stage) => stage.split(" ")[0]), ["read", "decode", "resize", "tower", "waiting"]);
  await clip.page.getByRole("button", { name: "Copy report" }).click();
  await clip.page.getByRole("button", { name: "Copied" }).waitFor();
  const report = await clip.page.evaluate(() => navigator.clipboard.readText());
  assert.match(report, /^model: shapes-and-colours, q8_0, 2\.4 MB$/m);
  assert.match(report, /^input: image$/m);
  await clip.pickImages({ name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no pixels") });
  await clip.embed();
  assert.equal(await clip.page.locator("#timeline").isVisible(), false, "nothing has been embedded");
});
