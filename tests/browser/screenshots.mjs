// Takes the README's screenshots of the running page: node tests/browser/screenshots.mjs DIRECTORY

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CHROMIUM_FLAGS, Site, TEST_DATA } from "./support/browser.mjs";

/** @import { BrowserContextOptions } from "playwright-core" */
/** @import { ClipPage } from "./support/browser.mjs" */

/** One drawing in this many is shown. */
const EVERY = 3;

/** Brings the page into each state, by the screenshot's name. @type {Record<string, (clip: ClipPage) => Promise<unknown>>} */
const PICTURES = {
  embed: firstResult,
  async search(clip) {
    await firstResult(clip);
    await clip.page.getByRole("link", { name: "Search pictures" }).click();
    const state = clip.page.locator("#search-state");
    await state.filter({ hasText: "Nothing is indexed for" }).waitFor();
    await clip.page.locator("#search-files").setInputFiles(drawings());
    await state.filter({ hasText: "pictures indexed for" }).waitFor({ timeout: 60_000 });
    await clip.page.getByRole("searchbox", { name: "What to look for" }).fill("a tree");
    await clip.page.getByRole("searchbox", { name: "less of" }).fill("green");
    await clip.page.getByRole("button", { name: "Search", exact: true }).click();
    await clip.page.locator("#search-hits img").nth(5).waitFor();
    await toTop(clip);
  },
  async check(clip) {
    await firstResult(clip);
    await clip.page.getByRole("link", { name: "Check" }).click();
    await clip.page.getByRole("button", { name: "Run the check" }).click();
    await clip.page.locator("#check-result table").waitFor();
    await toTop(clip);
  },
};

/** Of a page on a phone. @type {Record<string, (clip: ClipPage) => Promise<unknown>>} */
const PHONE_PICTURES = { phone: firstResult };

const [, , directory] = process.argv;
if (!directory) throw new Error("usage: node tests/browser/screenshots.mjs DIRECTORY");
mkdirSync(directory, { recursive: true });
/** @type {(() => Promise<void>)[]} */
const ends = [];
const site = await Site.open(CHROMIUM_FLAGS);
try {
  const after = (/** @type {any} */ end) => void ends.push(end);
  const take = async (/** @type {typeof PICTURES} */ pictures, /** @type {BrowserContextOptions} */ options) => {
    for (const [name, reach] of Object.entries(pictures)) {
      const clip = await site.visit({ after }, { ...options, reducedMotion: "reduce" });
      await reach(clip);
      await clip.page.screenshot({ path: join(directory, `${name}.png`) });
      console.log(`${name}.png`);
    }
  };
  await take(PICTURES, { viewport: { width: 1280, height: 800 } });
  await take(PHONE_PICTURES, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
} finally {
  for (const end of ends) await end();
  await site.close();
}

/** Drawings that the demo model knows, from its own program. */
function drawings() {
  const folder = join(TEST_DATA, "demo");
  return readdirSync(folder)
    .filter((name) => name.endsWith(".png"))
    .filter((_, index) => index % EVERY === 0)
    .map((name) => join(folder, name));
}

/** @param {ClipPage} clip */
async function firstResult(clip) {
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.settled();
}

/** Scrolls to the view, below the model. @param {ClipPage} clip */
async function toTop({ page }) {
  await page.locator("nav.views").evaluate((views) => views.scrollIntoView({ block: "start" }));
}
