// The Search view of the page, and drawings to index there.

import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ClipPage, TEST_DATA } from "./browser.mjs";

/** @import { BrowserContextOptions, Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */
/** @import { Site } from "./browser.mjs" */

export const DRAWN = join(TEST_DATA, "demo");
/** @type {{ file: string, caption: string }[]} */
export const CASES = JSON.parse(readFileSync(join(DRAWN, "cases.json"), "utf8"))["shapes-0"].slice(0, 60);
export const DEMO = "shapes-and-colours · q8_0";

/**
 * A new folder, deleted after the test: sixty drawings in nested folders, with two broken files, and files that are not
 * pictures.
 * @param {Pick<TestContext, "after">} t
 * @param {number} copies of each drawing
 */
export function makeFolder(t, copies = 1) {
  const scratch = mkdtempSync(join(tmpdir(), "clip-wasm-search-"));
  t.after(() => rmSync(scratch, { recursive: true }));
  const folder = join(scratch, "Drawings");
  mkdirSync(join(folder, "some/deeper"), { recursive: true });
  mkdirSync(join(folder, ".hidden"));
  for (const [index, { file }] of CASES.entries()) {
    copyFileSync(join(DRAWN, `${file}.png`), join(folder, index % 3 ? "some/deeper" : "", `${file}.png`));
    for (let copy = 1; copy < copies; copy++) copyFileSync(join(DRAWN, `${file}.png`), join(folder, "some", `${copy}-${file}.png`));
  }
  copyFileSync(join(DRAWN, "shapes-0-000.png"), join(folder, ".hidden/hidden.png"));
  writeFileSync(join(folder, "some/broken.png"), "no pixels");
  writeFileSync(join(folder, "some/cut.png"), readFileSync(join(DRAWN, "shapes-0-001.png")).subarray(0, 200));
  writeFileSync(join(folder, "notes.txt"), "no picture");
  return folder;
}

/** The Search view, with a method for each action of a user. */
export class SearchPage extends ClipPage {
  /**
   * @param {Page} page
   * @param {Site} site
   */
  constructor(page, site) {
    super(page, site);
    this.state = page.locator("#search-state");
    this.count = page.locator("#indexing-count");
    this.note = page.locator("#search-note");
    this.summary = page.locator("#search-summary");
    this.hits = page.locator("#search-hits > li");
    this.failures = page.locator("#search-failures-list > li");
  }

  /**
   * @param {Site} site
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} [options]
   */
  static async open(site, t, options) {
    const { page } = await site.newPage(t, options);
    const search = new SearchPage(page, site);
    await search.page.addInitScript(countEmbeddings);
    await search.reload();
    return search;
  }

  /** Starts a new visit. */
  async reload() {
    await this.page.goto(`${this.site.own.origin}/`);
    await this.page.goto(`${this.site.own.origin}/#/search`);
    await this.page.reload();
    await this.state.filter({ hasText: DEMO }).waitFor();
  }

  /** @param {string} folder */
  async choose(folder) {
    await this.page.locator("#search-folder-files").setInputFiles(folder);
  }

  /**
   * Starts an indexing, and pauses it.
   * @param {number} least pictures that must be done before
   * @param {() => Promise<void>} start
   */
  async pauseAfter(least, start) {
    const paused = this.page.evaluate((least) => {
      const count = /** @type {HTMLElement} */ (document.querySelector("#indexing-count"));
      return new Promise((resolve, reject) => {
        setTimeout(() => reject(new Error("so many pictures are not indexed within 20 s")), 20_000);
        const observer = new MutationObserver(() => {
          if (Number.parseInt(count.textContent || "0", 10) < least) return;
          observer.disconnect();
          /** @type {HTMLElement} */ (document.querySelector("#indexing-pause")).click();
          resolve(undefined);
        });
        observer.observe(count, { childList: true, characterData: true, subtree: true });
      });
    }, least);
    await Promise.all([start(), paused]);
  }

  /** @param {number} count */
  async indexed(count, model = DEMO) {
    await this.state.filter({ hasText: `${count} pictures indexed for ${model}.` }).waitFor();
  }

  /**
   * @param {string} text
   * @returns {Promise<{ name: string, score: number }[]>}
   */
  async search(text) {
    await this.page.getByLabel("What to look for").fill(text);
    await this.page.getByRole("button", { name: "Search", exact: true }).click();
    return this.found(`“${text}”`);
  }

  /**
   * All found pictures, as they are exported: only those near the window are in the document.
   * @param {string} query
   */
  async found(query) {
    await this.summary.filter({ hasText: `fit ${query}, searched in` }).waitFor();
    return (await this.exported()).map(([path = "", score]) => ({ name: basename(path), score: Number(Number(score).toFixed(3)) }));
  }

  /** The rows of the file with the result's names and scores, without its head. */
  async exported() {
    const download = this.page.waitForEvent("download");
    await this.page.getByRole("button", { name: "Export names and scores" }).click();
    const lines = readFileSync(await (await download).path(), "utf8").trimEnd().split("\r\n").slice(1);
    return lines.map((line) => [...line.matchAll(/"((?:[^"]|"")*)"|[^,]+/g)].map(([plain, quoted]) => quoted?.replaceAll('""', '"') ?? plain));
  }

  /** @returns {Promise<number>} images that were passed to the encoder in this visit */
  embeddings() {
    return this.page.evaluate(() => window.embeddings);
  }

  /** @returns {Promise<Record<string, number>>} the number of stored entries, by store */
  kept() {
    return this.page.evaluate(async () => {
      const result = (/** @type {IDBRequest} */ request) =>
        new Promise((resolve) => request.addEventListener("success", () => resolve(request.result)));
      const database = await result(indexedDB.open("clip-wasm-pictures"));
      const stores = [...database.objectStoreNames];
      const transaction = database.transaction(stores);
      const counts = stores.map(async (name) => [name, await result(transaction.objectStore(name).count())]);
      const all = Object.fromEntries(await Promise.all(counts));
      database.close();
      return all;
    });
  }
}

/** Runs in the page, before its own scripts. */
function countEmbeddings() {
  const { postMessage } = Worker.prototype;
  window.embeddings = 0;
  Worker.prototype.postMessage = function (/** @type {any[]} */ ...message) {
    if (message[0]?.method === "prepare") window.embeddings++;
    return postMessage.apply(this, /** @type {any} */ (message));
  };
}
