// A page that nobody looks at: browsers hold back much of what it does, but indexing must go on.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { TEST_DATA } from "../support/browser.mjs";
import { Engine, whyNot, within } from "./engine.mjs";
import { Visit } from "./visit.mjs";

const DRAWN = join(TEST_DATA, "demo");
const PICTURES = readdirSync(DRAWN).filter((name) => name.endsWith(".png")).sort().slice(0, 150).map((name) => join(DRAWN, name));
/** Chromium's strictest saving begins a second after the page is hidden, instead of five minutes. */
const STRICT = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1";
/** Milliseconds out of sight before the pictures are given to the page: Chromium saves little at first. */
const OUT_OF_SIGHT = 15_000;
/** Milliseconds for the pictures. With their thumbnails held back, they took more than a minute. */
const BOUND = 30_000;

const options = { onScreen: true, flags: [STRICT] };
const reason = whyNot("chromium", options);

describe("Chromium, in a tab behind another", { skip: reason ?? false }, () => {
  /** @type {Engine} */
  let engine;
  before(async () => (engine = await Engine.start("chromium", options)));
  after(() => engine?.close());

  test("pictures are indexed as in sight", { timeout: 150_000 }, async () => {
    const visit = await Visit.open(engine, {});
    try {
      await visit.go("/#/search");
      await visit.says("#search-state", /^Nothing is indexed/);
      /** @type {Promise<{ seconds: number, isHidden: boolean }>} */
      const done = new Promise((resolve) => {
        visit.own.answer("/done", (request, response) => {
          response.end();
          const told = new URL(String(request.url), visit.own.origin).searchParams;
          resolve({ seconds: Number(told.get("seconds")), isHidden: told.get("hidden") === "true" });
        });
      });
      await visit.evaluate(prepare, OUT_OF_SIGHT, PICTURES.length);
      await visit.choose("#later", PICTURES);
      visit.own.answer("/other.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Another</title>"));
      await visit.openTab("/other.html");
      const { seconds, isHidden } = await within(OUT_OF_SIGHT + 2 * BOUND, "the pictures are indexed", done);
      assert.ok(isHidden, "the page stayed out of sight");
      assert.ok(seconds < BOUND / 1000, `${seconds} s for ${PICTURES.length} pictures`);
      record({ section: "engines", what: `${engine.title}, in a tab behind another`, tried: `${PICTURES.length} pictures indexed, with the strictest saving`, outcome: `in ${seconds.toFixed(1)} s` });
      await visit.closeTab();
    } finally {
      assert.deepEqual(await visit.end(), [], "the console stays empty");
    }
  });
});

/**
 * Runs in the page: when it has been out of sight for a while, it gets the pictures that have been chosen in a field of
 * its own, and tells when they are indexed.
 * @param {number} outOfSight milliseconds
 * @param {number} count of pictures
 */
function prepare(outOfSight, count) {
  const later = Object.assign(document.createElement("input"), { type: "file", id: "later", multiple: true });
  document.body.append(later);
  document.addEventListener("visibilitychange", async () => {
    await new Promise((resolve) => setTimeout(resolve, outOfSight));
    const start = performance.now();
    const state = /** @type {Element} */ (document.querySelector("#search-state"));
    new MutationObserver((_changes, observer) => {
      if (!String(state.textContent).startsWith(`${count} pictures indexed`)) return;
      observer.disconnect();
      void fetch(`/done?seconds=${(performance.now() - start) / 1000}&hidden=${document.hidden}`);
    }).observe(state, { childList: true, characterData: true, subtree: true });
    const transfer = new DataTransfer();
    for (const file of later.files ?? []) transfer.items.add(file);
    const field = /** @type {HTMLInputElement} */ (document.querySelector("#search-files"));
    field.files = transfer.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }, { once: true });
}
