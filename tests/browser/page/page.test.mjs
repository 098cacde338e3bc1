// The page in general: by keyboard, on a narrow screen, dark and light.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site } from "../support/browser.mjs";

/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

test("by keyboard alone: choose a model, load it, type, embed, copy", async (t) => {
  const clip = await site.newPage(t);
  const { keyboard } = clip.page;
  const visited = [];
  await clip.menuShown();
  await keyboard.press("Tab"); // the count of what is sent
  visited.push(await focused(clip.page));
  await tabTo(clip.page, "model-change");
  visited.push(await focused(clip.page));
  await keyboard.press("Enter");
  await keyboard.press("Tab");
  visited.push(await focused(clip.page));
  await keyboard.press("ArrowRight"); // from the menu to any URL
  await keyboard.press("Tab");
  visited.push(await focused(clip.page));
  await keyboard.type(`${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  await keyboard.press("Enter");
  await clip.ready();
  await tabTo(clip.page, "texts");
  await keyboard.type("a photo of a cat\na photo of a dog");
  await keyboard.press("Control+Enter");
  await clip.page.locator("#legend li").nth(1).waitFor();
  assert.equal((await clip.copied()).data.length, 2);
  await clip.page.locator("h1").click(); // so that Tab begins at the top
  for (const id of ["image-files", "embed", "normalize", "copy", "download", "json"]) {
    await tabTo(clip.page, id);
    visited.push(await focused(clip.page));
  }
  for (const { id, ring } of visited) assert.ok(ring, `no focus ring to be seen on ${id}`);
  assert.deepEqual(
    visited.slice(0, 4).map(({ id }) => id),
    ["traffic-summary", "model-change", "origin", "model-url"],
  );
});

test("by keyboard: the focus moves from Load to Cancel, and back again", async (t) => {
  const clip = await site.newPage(t);
  site.hub.answer("/never.gguf", () => {});
  await clip.menuShown();
  await clip.chooseOrigin("Name or URL");
  await clip.page.getByLabel("Name of a model on the Hub, or address of a file").fill(`${site.hub.origin}/never.gguf`);
  await clip.page.keyboard.press("Tab"); // to what it is loaded for
  await clip.page.keyboard.press("Tab");
  await clip.page.keyboard.press("Enter");
  assert.equal((await focused(clip.page)).id, "model-cancel");
  await clip.page.keyboard.press("Enter");
  await clip.modelState.filter({ hasText: "No model yet" }).waitFor();
  assert.equal((await focused(clip.page)).id, "model-load");
});

test("stop ends a run and keeps what is done", async (t) => {
  const clip = await site.newPage(t);
  await clip.loadTinyModel();
  const count = 5000;
  const lines = Array.from({ length: count }, (_, index) => `text ${index}`).join("\n");
  // Filled in at once, as if pasted: typing so much takes a browser seconds.
  await clip.texts.evaluate((field, lines) => (/** @type {HTMLTextAreaElement} */ (field).value = lines), lines);
  await clip.page.getByRole("button", { name: /^Embed/ }).click();
  await clip.page.locator("#run-state").filter({ hasText: /^Embedding ([2-9]|\d\d+) of 5000/ }).waitFor();
  await clip.page.getByRole("button", { name: "Stop" }).click();
  await clip.settled();
  const { data } = await clip.copied();
  assert.ok(data.length >= 1 && data.length < count, `${data.length} vectors`);
  assert.equal(await clip.page.getByRole("alert").count(), 0);
});

describe("360 pixels wide", () => {
  const long = "a-very-long-name-without-a-single-space-".repeat(5);

  test("nothing scrolls sideways in any state of the page", async (t) => {
    const clip = await site.newPage(t, { viewport: { width: 360, height: 740 } });
    await assertFits(clip.page, "at first");
    await clip.loadUrl(`${site.hub.origin}/${long}.gguf`);
    await clip.modelError.waitFor();
    await assertFits(clip.page, "with a model's error");
    await clip.loadTinyModel();
    await assertFits(clip.page, "with a model");
    await clip.texts.fill(`${long}\na photo of a cat`);
    await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "cat.avif"), join(FIXTURES, "rocket.jpg")]);
    await clip.pickImages({ name: `${long}.png`, mimeType: "", buffer: Buffer.from("no pixels") });
    await clip.embed();
    await assertFits(clip.page, "with a result");
    await clip.page.locator(".fold").first().click();
    await assertFits(clip.page, "with a vector unfolded");
  });

  /**
   * @param {Page} page
   * @param {string} when
   */
  async function assertFits(page, when) {
    const { width, widest } = await page.evaluate(() => {
      const right = (/** @type {Element} */ element) => element.getBoundingClientRect().right;
      const shown = [...document.querySelectorAll("body *")].filter((element) => !element.closest(".unseen"));
      const widest = shown.reduce((most, element) => (right(element) > right(most) ? element : most));
      return {
        width: document.documentElement.scrollWidth,
        widest: `${widest.tagName.toLowerCase()}#${widest.id}.${widest.className}`,
      };
    });
    assert.ok(width <= 360, `${when}, the page is ${width} pixels wide, for ${widest}`);
  }
});

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`text has enough contrast, ${colorScheme}`, async (t) => {
    const clip = await site.newPage(t, { colorScheme });
    await clip.loadTinyModel();
    await clip.loadUrl(`${site.hub.origin}/nowhere.gguf`);
    await clip.modelError.waitFor();
    await clip.texts.fill("a photo of a cat");
    await clip.embed();
    const contrasts = await clip.page.evaluate(measureContrasts);
    assert.ok(contrasts.length > 10, "texts were found");
    for (const { text, ratio } of contrasts) {
      assert.ok(ratio >= 4.5, `“${text}” has a contrast of ${ratio.toFixed(2)}`);
    }
  });
}

test("no motion if the user prefers none", async (t) => {
  const clip = await site.newPage(t, { reducedMotion: "reduce" });
  site.hub.answer("/never.gguf", () => {});
  await clip.loadUrl(`${site.hub.origin}/never.gguf`);
  await clip.page.getByRole("progressbar").waitFor();
  assert.equal(await clip.page.evaluate(() => document.getAnimations().length), 0);
});

/**
 * @param {Page} page
 * @returns {Promise<{ id: string, ring: boolean }>} the element with the focus, and whether it or its label shows a
 *   ring
 */
function focused(page) {
  return page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement);
    const ring = (/** @type {Element | null} */ shown) => shown !== null && getComputedStyle(shown).outlineStyle !== "none";
    return {
      id: element.id || element.getAttribute("name") || element.tagName,
      ring: ring(element) || ring(element.closest("label")),
    };
  });
}

/**
 * @param {Page} page
 * @param {string} id
 */
async function tabTo(page, id) {
  for (let presses = 0; presses < 40; presses++) {
    if ((await focused(page)).id === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`#${id} cannot be reached with Tab`);
}

/**
 * Runs in the page: every text that is shown and enabled, and its WCAG contrast with the background.
 * @returns {{ text: string, ratio: number }[]}
 */
function measureContrasts() {
  const luminance = (/** @type {number[]} */ rgb) => {
    const [r = 0, g = 0, b = 0] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const channels = (/** @type {string} */ color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const ground = (/** @type {Element | null} */ element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r = 0, g = 0, b = 0, alpha = 1] = channels(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = /** @type {Element} */ (node.parentElement);
    const text = node.textContent?.trim() ?? "";
    if (!text || !element.checkVisibility() || element.closest(".unseen, option, :disabled, noscript, .drop-hint")) continue;
    const [light = 0, dark = 0] = [luminance(channels(getComputedStyle(element).color).slice(0, 3)), luminance(ground(element))].sort((a, b) => b - a);
    found.push({ text: text.slice(0, 40), ratio: (light + 0.05) / (dark + 0.05) });
  }
  return found;
}
