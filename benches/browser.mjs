// Chromium, the servers it asks, and a page with one contestant open.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium } from "../tests/page/browser.mjs";
import { StaticServer } from "../tests/page/server.mjs";

/** @import { BrowserContext, JSHandle, Page } from "playwright-core" */
/** @import { Call, Name, OpenOptions } from "./page/contestants.js" */

export const REPOSITORY = resolve(import.meta.dirname, "..");

/** As static hosts send it; without it a second visit would ask for everything again. */
const CACHED = { "cache-control": "max-age=3600" };
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** The repository on two origins: a plain static host, and one whose headers allow shared memory. */
export class Hosts {
  plain = new StaticServer(REPOSITORY, CACHED);
  isolated = new StaticServer(REPOSITORY, { ...CACHED, ...ISOLATED });

  async start() {
    await Promise.all([this.plain.start(), this.isolated.start()]);
    return this;
  }

  async stop() {
    await Promise.all([this.plain.stop(), this.isolated.stop()]);
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
   */
  static async create(context, host) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`${host.origin}/benches/page/`);
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
