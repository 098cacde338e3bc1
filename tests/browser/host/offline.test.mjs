// The page as an application: it can be installed, and its badge says correctly whether it needs a network.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { REPOSITORY, Site } from "../support/browser.mjs";
import { status } from "../support/server.mjs";

/** @import { ClipPage } from "../support/browser.mjs" */

const WWW = join(REPOSITORY, "www");
const MANIFEST = JSON.parse(readFileSync(join(WWW, "manifest.webmanifest"), "utf8"));

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * @param {ClipPage} clip
 * @param {string} text
 */
async function badgeSays(clip, text) {
  const badge = clip.page.locator("#offline");
  try {
    await badge.filter({ hasText: new RegExp(`^${text}$`) }).waitFor({ state: "attached" });
  } catch (cause) {
    throw new Error(`the badge says “${await badge.textContent()}”, not “${text}”`, { cause });
  }
}

describe("installing", () => {
  test("Chromium finds no reason against it", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    const devtools = await page.context().newCDPSession(page);
    const { errors, data } = await devtools.send("Page.getAppManifest");
    assert.deepEqual(errors, []);
    assert.deepEqual(JSON.parse(String(data)), MANIFEST);
    const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
    // A test's profile counts as a private window, in which nothing can be installed.
    assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
  });

  for (const { src, sizes, purpose } of MANIFEST.icons.filter((/** @type {any} */ { type }) => type === "image/png")) {
    test(`${src} is icon.svg, ${sizes}, ${purpose}`, async (t) => {
      const { page } = await site.newPageWithServiceWorker(t);
      const [width, height, difference] = await page.evaluate(
        async ({ src, isMaskable }) => {
          const png = Object.assign(new Image(), { src });
          const svg = Object.assign(new Image(), { src: "icon.svg" });
          await Promise.all([png.decode(), svg.decode()]);
          const { naturalWidth: width, naturalHeight: height } = png;
          // Not the corners, because a maskable icon fills them.
          const [from, size] = isMaskable ? [Math.round(width * 0.1), Math.round(width * 0.8)] : [0, width];
          const [a, b] = [png, svg].map((image) => {
            const context = /** @type {CanvasRenderingContext2D} */ (Object.assign(document.createElement("canvas"), { width, height }).getContext("2d"));
            context.drawImage(image, 0, 0, width, height);
            return context.getImageData(from, from, size, size).data;
          });
          if (!a || !b) throw new Error("no pixels");
          return [width, height, a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? NaN)), 0) / a.length];
        },
        { src, isMaskable: purpose === "maskable" },
      );
      assert.equal(`${width}x${height}`, sizes);
      assert.ok(Number(difference) < 1, `its pixels differ from icon.svg's by ${difference} of 255 on average: ./build.sh icons`);
    });
  }
});

describe("the badge", () => {
  test("appears when everything is stored, and changes with the network", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await badgeSays(clip, "Works offline");
    assert.match(String(await clip.page.locator("#offline").getAttribute("title")), /is kept on this device, and so is the demo model\.$/);
    await clip.page.context().setOffline(true);
    await badgeSays(clip, "Offline now");
    await clip.page.context().setOffline(false);
    await badgeSays(clip, "Works offline");
  });

  test("does not appear while a file of the page cannot be stored", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await badgeSays(clip, "Works offline");
    await clip.page.evaluate(async () => {
      const cache = await caches.open("clip-wasm-page");
      await cache.delete(new URL("icons/512.png", location.href).href);
    });
    site.own.answer("/icons/512.png", status(500));
    await clip.page.reload();
    await clip.page.waitForTimeout(1500);
    await badgeSays(clip, "");
    site.own.reset();
    await clip.page.reload();
    await badgeSays(clip, "Works offline");
  });

  test("says that the server is gone, while the demo model embeds although it was never loaded before", async (t) => {
    const site = await Site.open();
    t.after(() => site.close());
    const clip = await site.newPageWithServiceWorker(t);
    await badgeSays(clip, "Works offline");
    assert.equal(await clip.page.locator("#kept").isVisible(), false);
    await site.own.stop();
    await clip.page.reload();
    await badgeSays(clip, "Offline now");
    await clip.texts.fill("a red star\na blue star");
    await clip.embed();
    assert.equal((await clip.copied()).data.length, 2);
    await badgeSays(clip, "Offline now");
  });
});
