// Chromium, the servers it asks, and a page with one contestant open.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium } from "../tests/browser/support/browser.mjs";
import { StaticServer } from "../tests/browser/support/server.mjs";

/** @import { BrowserContext, JSHandle, Page } from "playwright-core" */
/** @import { Call, Name, OpenOptions } from "./page/contestants.js" */

/** @type {Name} */
const OURS = "clip-wasm";

export const REPOSITORY = resolve(import.meta.dirname, "..");

/** As static hosts send it; without it a second visit would ask for everything again. */
const CACHED = { "cache-control": "max-age=3600" };
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** So that a service worker may serve the whole origin from www/sw.js: a user would copy it to the top. */
const ANY_SCOPE = { "service-worker-allowed": "/" };

/** The repository on several origins: plain static hosts, and one whose headers allow shared memory. */
export class Hosts {
  isolated = new StaticServer(REPOSITORY, { ...CACHED, ...ISOLATED });
  #plain = new StaticServer(REPOSITORY, CACHED);
  /** An origin of its own, for the service worker that clip-wasm brings would isolate the others' pages too. */
  #plainForOurs = new StaticServer(REPOSITORY, { ...CACHED, ...ANY_SCOPE });

  /** @param {Name} name whose page it is to serve */
  plain(name) {
    return name === OURS ? this.#plainForOurs : this.#plain;
  }

  async start() {
    await Promise.all(this.#all().map((host) => host.start()));
    return this;
  }

  async stop() {
    await Promise.all(this.#all().map((host) => host.stop()));
  }

  #all() {
    return [this.isolated, this.#plain, this.#plainForOurs];
  }
}

/**
 * A browser with a profile on disk, new and deleted afterwards, so that its caches are those of a user.
 * @template T
 * @param {(context: BrowserContext) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withBrowser(use) {
  const profile = await mkdtemp(join(tmpdir(), "clip-wasm-bench-"));
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: findChromium(),
      args: CHROMIUM_FLAGS,
    });
    try {
      return await use(context);
    } finally {
      await context.close();
    }
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

/** A page with one contestant. */
export class ContestantPage {
  /**
   * @param {Page} page
   * @param {JSHandle<typeof import("./page/bench.js")>} bench
   */
  constructor(page, bench) {
    this.page = page;
    this.bench = bench;
  }

  /**
   * @param {BrowserContext} context
   * @param {StaticServer} host
   * @param {Name} name of the contestant
   * @param {{ first?: boolean }} [options] `first`: as a visitor's first page, which no service worker isolates yet
   */
  static async create(context, host, name, { first = false } = {}) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`${host.origin}/benches/page/`);
    if (name === OURS && !first && !(await page.evaluate(() => crossOriginIsolated))) {
      // What its own page does at the first visit; this is the second.
      await page.evaluate(async () => {
        await navigator.serviceWorker.register("/www/sw.js", { scope: "/" });
        await navigator.serviceWorker.ready;
      });
      await page.reload();
    }
    const bench = await page.evaluateHandle(
      (url) => /** @type {Promise<typeof import("./page/bench.js")>} */ (import(url)),
      `${host.origin}/benches/page/bench.js`,
    );
    return new ContestantPage(page, bench);
  }

  /**
   * @param {Name} name
   * @param {OpenOptions} options
   * @returns {Promise<number>} milliseconds
   */
  async open(name, options) {
    return this.bench.evaluate((bench, { name, options }) => bench.open(name, options), { name, options });
  }

  async prepare() {
    await this.bench.evaluate((bench) => bench.prepare());
  }

  /**
   * @param {Call} call
   * @param {unknown[]} params
   * @returns {Promise<number>} milliseconds
   */
  async time(call, params) {
    return this.bench.evaluate((bench, { call, params }) => bench.time(call, params), { call, params });
  }

  /**
   * @param {Call} call
   * @param {unknown[]} params
   * @returns {Promise<number[][]>}
   */
  async vectors(call, params) {
    return this.bench.evaluate((bench, { call, params }) => bench.vectors(call, params), { call, params });
  }

  async close() {
    await this.page.close();
  }
}
