// Usable by everyone, and at once: accessibility (axe), what is painted before the module loads, and no layout shifts.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site } from "../support/browser.mjs";

/** @import { Page } from "playwright-core" */
/** @import { ClipPage } from "../support/browser.mjs" */

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const NOT_AN_IMAGE = { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("these are notes, not pixels") };
/** Web Vitals call 0.1 "good". */
const MOST_SHIFT = 0.02;

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @type {Record<string, (clip: ClipPage) => Promise<unknown>>} states of the page that a visitor sees */
const STATES = {
  "the first visit": async () => {},
  "errors of inputs": async (clip) => {
    await clip.pickImages(NOT_AN_IMAGE);
    await clip.embed();
    await clip.thumbnails.getByRole("alert").waitFor();
  },
  "several pictures and the drawing sheet": async (clip) => {
    await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
    await clip.page.getByRole("button", { name: "Draw…" }).click();
    await clip.embed();
  },
  "the panel of models": async (clip) => {
    await clip.openModelPanel();
    await clip.page.locator("#kept-summary").click();
  },
  "one picture without a text": async (clip) => {
    await clip.texts.fill("");
    await clip.embed();
    await clip.page.locator("#comparison ol .score").filter({ hasText: /\d/ }).first().waitFor();
  },
  "many pictures": async (clip) => {
    await clip.texts.fill("");
    await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
    await clip.embed();
    await clip.page.locator(".groups").waitFor();
  },
  "texts alone, in a language that the model does not know": async (clip) => {
    await clip.loadTinyModel();
    await clip.page.getByRole("button", { name: "Remove hearts.png" }).click();
    await clip.texts.fill("a cat\nкошка\na dog");
    await clip.embed();
    await clip.page.locator("table.matrix").waitFor();
  },
  "a model that does not come": async (clip) => {
    await clip.loadUrl(`${site.hub.origin}/absent.gguf`);
    await clip.modelError.waitFor();
  },
  "the search": async (clip) => {
    await clip.page.getByRole("link", { name: "Search pictures" }).click();
    await clip.page.locator("#view-search").waitFor();
    await clip.page.locator("#search-files").setInputFiles([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
    await clip.page.locator("#search-state").filter({ hasText: "2 pictures indexed" }).waitFor();
    await clip.page.getByRole("searchbox", { name: "What to look for" }).fill("a cat");
    await clip.page.getByRole("button", { name: "Search", exact: true }).click();
    await clip.page.locator("#search-hits li").nth(1).waitFor();
  },
  "duplicates, and a query of everything": async (clip) => {
    await clip.page.getByRole("link", { name: "Search pictures" }).click();
    await clip.page.locator("#view-search").waitFor();
    await clip.page.locator("#search-files").setInputFiles([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg"), join(FIXTURES, "faint.png")]);
    await clip.page.locator("#search-state").filter({ hasText: "3 pictures indexed" }).waitFor();
    await clip.page.getByRole("searchbox", { name: "less of" }).fill("a cat");
    await clip.page.locator("#search-picture").setInputFiles(join(FIXTURES, "cat.png"));
    await clip.page.locator("#search-hits li").nth(1).waitFor();
    await clip.page.getByLabel("How alike").selectOption("0.93");
    await clip.page.getByRole("button", { name: "Find duplicates" }).click();
    await clip.page.locator("#search-summary").filter({ hasText: "a cosine of 0.93" }).waitFor();
    await clip.page.getByText("Take the index elsewhere").click();
  },
  "the check": async (clip) => {
    await clip.page.getByRole("link", { name: "Check" }).click();
    await clip.page.getByRole("button", { name: "Run the check" }).click();
    await clip.page.locator("#check-result table").waitFor();
  },
};

describe("axe finds nothing wrong", () => {
  for (const [name, reach] of Object.entries(STATES)) {
    test(`${name}, light and dark`, async (t) => {
      const clip = await site.visit(t);
      await clip.page.locator("#comparison .verdict").waitFor();
      await clip.settled();
      await reach(clip);
      for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
        await clip.page.emulateMedia({ colorScheme });
        // Colours that are fading over would count as too pale.
        await clip.page.waitForFunction(() => !document.getAnimations().some((animation) => animation instanceof CSSTransition));
        assert.deepEqual(await violations(clip.page), [], colorScheme);
      }
    });
  }
});

describe("the first paint", () => {
  test("does not wait for the module or the model", async (t) => {
    const clip = await site.newPage(t);
    site.own.reset();
    for (const build of ["simd128", "relaxed", "simd128-threads", "relaxed-threads"]) {
      site.own.answer(`/pkg/${build}/clip_wasm_bg.wasm`, () => {});
    }
    site.own.answer("/models/demo.gguf", () => {});
    await clip.page.reload();
    await clip.page.getByRole("heading", { name: "Inputs" }).waitFor();
    await clip.modelState.filter({ hasText: "Loading" }).waitFor();
    await clip.page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    const paint = await clip.page.evaluate(() => Number(performance.getEntriesByName("first-contentful-paint")[0]?.startTime));
    assert.ok(paint < 2000, `first contentful paint after ${paint} ms`);
  });

  for (const width of [1280, 360]) {
    test(`and nothing moves after it, ${width} pixels wide`, async (t) => {
      const clip = await site.visit(t, { viewport: { width, height: 800 } });
      await clip.page.locator("#comparison .verdict").waitFor();
      const shift = await layoutShift(clip.page);
      assert.ok(shift.total <= MOST_SHIFT, `cumulative layout shift ${shift.total}: ${JSON.stringify(shift.sources)}`);
    });

    test(`and the badge does not move while requests are counted, ${width} pixels wide`, async (t) => {
      const clip = await site.newPageWithServiceWorker(t, { viewport: { width, height: 800 } });
      const badge = clip.page.locator("#offline").filter({ hasText: "Works offline" });
      await badge.waitFor();
      const before = await badge.boundingBox();
      await clip.page.locator("#traffic-summary").evaluate((summary) => void (summary.textContent = summary.textContent.replace(/\d+ requests/, "1000 requests")));
      assert.deepEqual(await badge.boundingBox(), before);
    });
  }
});

describe("the first screen has inputs and the first result", () => {
  for (const { width, height, hasTouch } of [{ width: 1280, height: 800, hasTouch: false }, { width: 390, height: 844, hasTouch: true }]) {
    test(`${width} x ${height}`, async (t) => {
      const clip = await site.visit(t, { viewport: { width, height }, hasTouch, isMobile: hasTouch });
      await clip.page.locator("#comparison .verdict").waitFor();
      await clip.settled();
      const parts = ["h1", "#model-state", "#model-facts", "#model-change", ".drop", "#sample-list button", "#texts", "#embed", "#comparison .verdict", "#comparison tbody tr"];
      for (const part of parts) {
        const box = await clip.page.locator(part).first().boundingBox();
        assert.ok(box && box.y >= 0 && box.y + box.height <= height, `${part} is at ${box?.y} to ${box && box.y + box.height}`);
      }
      assert.equal(await clip.page.locator("#model-panel").isVisible(), false);
      assert.equal(await clip.page.locator(".camera").isVisible(), hasTouch);
      assert.ok((await clip.page.evaluate(() => document.documentElement.scrollWidth)) <= width);
    });
  }
});

/** @param {Page} page */
async function violations(page) {
  await page.evaluate(AXE);
  const results = await page.evaluate(() => window.axe.run());
  return results.violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}

/** @param {Page} page */
async function layoutShift(page) {
  return page.evaluate(async () => {
    /** @type {any[]} */
    const shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries())).observe({ type: "layout-shift", buffered: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const place = (/** @type {DOMRectReadOnly} */ { x, y, width, height }) => [x, y, width, height].map(Math.round).join(" ");
    const told = (/** @type {any} */ { node, previousRect, currentRect }) =>
      `${node?.id || node?.className || node?.nodeName}: ${place(previousRect)} to ${place(currentRect)}`;
    const unasked = shifts.filter(({ hadRecentInput }) => !hadRecentInput);
    return {
      total: unasked.reduce((sum, { value }) => sum + value, 0),
      sources: unasked.map(({ value, startTime, sources }) => [value, Math.round(startTime), ...sources.map(told)]),
    };
  });
}
