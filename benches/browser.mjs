// Chromium, the servers, and a page with one contestant.

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

/** As static hosts send them. Without the first, a second visit would fetch everything again. */
const CACHED = { "cache-control": "max-age=3600", etag: '"of-this-run"' };
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Lets www/sw.js control the whole origin. A user would copy it to the top folder instead. */
const ANY_SCOPE = { "service-worker-allowed": "/" };

/** The repository on several origins: plain static hosts, and one whose headers allow shared memory. */
export class Hosts {
  isolated = new StaticServer(REPOSITORY, { ...CACHED, ...ISOLATED });
  #plain = new StaticServer(REPOSITORY, CACHED);
  /** A separate origin, because clip-wasm's service worker would isolate the other libraries' pages too. */
  #plainForOurs = new StaticServer(REPOSITORY, { ...CACHED, ...ANY_SCOPE });

  /** @param {Name} name of the contestant whose page it serves */
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

/** Chromium with its GPU. */
export const GPU_FLAGS = [...CHROMIUM_FLAGS.filter((flag) => flag !== "--disable-gpu"), "--enable-unsafe-webgpu", "--enable-features=Vulkan"];

/**
 * A browser with a new profile on disk, so that its caches work as a user's do. The profile is deleted afterwards.
 * @template T
 * @param {(context: BrowserContext) => Promise<T>} use
 * @param {string[]} [flags]
 * @returns {Promise<T>}
 */
export async function withBrowser(use, flags = CHROMIUM_FLAGS) {
  const profile = await mkdtemp(join(tmpdir(), "clip-wasm-bench-"));
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: findChromium(),
      args: flags,
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
   * @param {{ first?: boolean }} [options] `first`: opens the page as on a first visit, not yet isolated by a
   *   service worker
   */
  static async create(context, host, name, { first = false } = {}) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`${host.origin}/benches/page/`);
    if (name === OURS && !first && !(await page.evaluate(() => crossOriginIsolated))) {
      // Does what its own page does on the first visit; the reload is the second visit.
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
