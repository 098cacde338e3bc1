// The page in a real Chromium: the base of every test here.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";
import { noSamples, StaticServer, status } from "./server.mjs";

/** @import { Browser, BrowserContextOptions, Locator, Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */

export const REPOSITORY = resolve(import.meta.dirname, "../../..");
export const FIXTURES = join(import.meta.dirname, "../fixtures");
export const TEST_DATA = resolve(REPOSITORY, process.env.CLIP_TEST_DATA ?? "target/test-data");
export const PHOTOS = join(REPOSITORY, "www/check");
export const TINY_MODEL = join(TEST_DATA, "tiny-gelu.q8_0.gguf");

/** Lets other origins read files and their headers. */
export const HUB_HEADERS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "ETag, Content-Range, Accept-Ranges",
};

/**
 * Parts of Chromium that no test needs. This list replaces the one that Playwright gives, so it repeats what that turns
 * off, except what makes the browser differ from a visitor's.
 */
const DISABLED_FEATURES = [
  // The suggestions below the address bar are two pages of their own, started with each window: on two cores, a second.
  "WebUIOmniboxPopup",
  "WebUIOmniboxAimPopup",
  // Requests to servers of the browser's maker.
  "AimEnabled",
  "NetworkTimeServiceQuerying",
  "OptimizationHints",
  "PreconnectToSearch",
  // Pages on plain http stay there.
  "HttpsFirstBalancedModeAutoEnable",
  "HttpsUpgrades",
  // What else Playwright turns off, to work reliably.
  "AvoidCorsURLLoaderRestartOnRedirect",
  "AvoidUnnecessaryBeforeUnloadCheckSync",
  "DestroyProfileOnBrowserClose",
  "LensOverlay",
  "MediaRouter",
  "PaintHolding",
  "ThirdPartyStoragePartitioning",
];

/** Flags to run as root, to make no requests except to the page's servers, and to start windows fast. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  `--disable-features=${DISABLED_FEATURES.join()}`,
];

/**
 * Keeps Chromium from optimising WebAssembly in the background. Most tests compute next to nothing, and on two cores take
 * a sixth longer with it.
 */
const UNOPTIMISED = "--js-flags=--liftoff-only";
/** Flags with which Chromium offers WebGPU without a GPU, by SwiftShader, which computes on the processor. */
export const SOFTWARE_GPU_FLAGS = [...CHROMIUM_FLAGS.filter((flag) => flag !== "--disable-gpu"), "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** @returns {string} the browser's path, from CHROMIUM or from PATH */
export function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "google-chrome", "chromium-browser"]) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      continue;
    }
  }
  throw new Error("no Chromium: install it (apt install chromium) or give its path in CHROMIUM");
}

/**
 * Deletes the profile of a browser that has ended. Its last processes may still write there, and Node's own retries do
 * not delete files that are added meanwhile.
 * @param {string} folder
 */
export async function removeProfile(folder) {
  for (let tries = 1; ; tries++) {
    try {
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await pause(200);
    }
  }
}

/**
 * A browser, the page's own server, and a second origin for weights, like the Hub.
 */
export class Site {
  /** @type {Browser} */
  #browser;
  /** The page's own origin. */
  own;
  /** The origin of the weights, which lets all others read them. */
  hub;

  /**
   * @param {Browser} browser
   * @param {StaticServer} own
   * @param {StaticServer} hub
   */
  constructor(browser, own, hub) {
    this.#browser = browser;
    this.own = own;
    this.hub = hub;
  }

  /** @param {string[]} [flags] of the browser; with the default ones, it computes slowly */
  static async open(flags = [...CHROMIUM_FLAGS, UNOPTIMISED]) {
    if (!existsSync(join(REPOSITORY, "www/pkg/simd128/clip_wasm.js"))) {
      throw new Error("www/pkg is missing: run ./build.sh first");
    }
    const own = await new StaticServer(join(REPOSITORY, "www")).start();
    const hub = await new StaticServer(TEST_DATA, HUB_HEADERS).start();
    const browser = await chromium.launch({ executablePath: findChromium(), args: flags });
    return new Site(browser, own, hub);
  }

  async close() {
    await this.#browser.close();
    await Promise.all([this.own.stop(), this.hub.stop()]);
  }

  /**
   * A page in its own profile, which embeds nothing by itself. An uncaught error of the page fails the test. Without a
   * service worker, which would store the page's hundred files: on two cores that takes longer than most tests.
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} [options]
   * @returns {Promise<ClipPage>}
   */
  async newPage(t, options = {}) {
    return this.#withoutSamples(t, options, () => this.own.answer("/sw.js", status(404)));
  }

  /**
   * As {@link newPage}, with the service worker.
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} [options]
   * @returns {Promise<ClipPage>}
   */
  async newPageWithServiceWorker(t, options = {}) {
    return this.#withoutSamples(t, options);
  }

  /**
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} options
   * @param {() => void} [change] of the page's server
   */
  #withoutSamples(t, options, change = () => {}) {
    this.own.reset();
    this.own.answer("/samples.json", noSamples);
    change();
    return this.#open(t, options);
  }

  /**
   * The page as a visitor first sees it, with its first sample.
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} [options]
   * @returns {Promise<ClipPage>}
   */
  async visit(t, options = {}) {
    this.own.reset();
    return this.#open(t, options);
  }

  /**
   * An empty page of the page's own origin, for tests of the library: nothing of the page is loaded, and no service
   * worker comes.
   * @param {Pick<TestContext, "after">} t
   * @returns {Promise<Page>}
   */
  async emptyPage(t) {
    this.own.reset();
    this.own.answer("/empty.html", (_request, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Empty</title><link rel=icon href=data:,>");
    });
    return (await this.#open(t, {}, "empty.html")).page;
  }

  /**
   * @param {Pick<TestContext, "after">} t
   * @param {BrowserContextOptions} options
   * @param {string} [path]
   */
  async #open(t, options, path = "") {
    this.hub.reset();
    const context = await this.#browser.newContext({
      permissions: ["clipboard-read", "clipboard-write"],
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    /** @type {Error[]} */
    const thrown = [];
    page.on("pageerror", (error) => thrown.push(error));
    t.after(async () => {
      await context.close();
      if (thrown[0]) throw thrown[0];
    });
    await page.goto(`${this.own.origin}/${path}`);
    return new ClipPage(page, this);
  }
}

/** The page, with a method for each action of a user. */
export class ClipPage {
  /**
   * @param {Page} page
   * @param {Site} site
   */
  constructor(page, site) {
    this.page = page;
    this.site = site;
    this.modelState = page.locator("#model-state");
    this.modelFacts = page.locator("#model-facts");
    /** In the panel: dimensions, and what the model takes. */
    this.modelInputs = page.locator("#model-inputs");
    this.modelError = page.locator("#model-error .error");
    this.runError = page.locator("#run-error .error");
    this.thumbnails = page.locator("#thumbnails > li");
    this.texts = page.getByLabel("Texts");
  }

  /** Opens the panel in which a model is chosen. */
  async openModelPanel() {
    if (!(await this.page.locator("#model-panel").isVisible())) await this.page.getByRole("button", { name: "Change model" }).click();
  }

  /** Waits until the menu of models has arrived. */
  async menuShown() {
    await this.page.waitForFunction(() => document.querySelectorAll("#model-menu option").length > 0);
  }

  /** @param {"Menu" | "Name or URL" | "File from disk"} origin */
  async chooseOrigin(origin) {
    await this.openModelPanel();
    // Its label: a click that is forced on what is not seen goes astray when something moves.
    await this.page.locator("label", { has: this.page.getByRole("radio", { name: origin }) }).click();
  }

  /**
   * Types a URL and presses Load.
   * @param {string} url
   */
  async loadUrl(url) {
    await this.chooseOrigin("Name or URL");
    await this.page.getByLabel("Name of a model on the Hub, or address of a file").fill(url);
    await this.page.getByRole("button", { name: "Load", exact: true }).click();
  }

  /**
   * Chooses a file and presses Load.
   * @param {string | string[] | { name: string, mimeType: string, buffer: Buffer }} file
   */
  async loadFile(file) {
    await this.chooseOrigin("File from disk");
    await this.page.getByLabel("Model files from disk").setInputFiles(file);
    await this.page.getByRole("button", { name: "Load", exact: true }).click();
  }

  /** Loads the tiny model. */
  async loadTinyModel() {
    await this.loadUrl(`${this.site.hub.origin}/tiny-gelu.q8_0.gguf`);
    await this.ready();
  }

  /** Waits until a model is ready; fails with the panel's error. */
  async ready() {
    try {
      await this.page.waitForFunction(() => document.querySelector("#model-state")?.textContent?.includes("Ready"));
    } catch (cause) {
      const panel = await this.page.locator(".model").innerText();
      const asked = [...this.site.own.requests, ...this.site.hub.requests].join(" ");
      throw new Error(`no model is ready. The panel: ${JSON.stringify(panel)}. Asked for: ${asked}`, { cause });
    }
  }

  /** @param {string[] | { name: string, mimeType: string, buffer: Buffer }} files */
  async pickImages(files) {
    await this.page.getByLabel("Add images").setInputFiles(files);
  }

  /** The labels of the vectors, in order. */
  async legend() {
    return this.page.locator("#legend .name").allTextContents();
  }

  /** Presses Embed and waits until it is done. */
  async embed() {
    await this.page.getByRole("button", { name: /^Embed/ }).click();
    await this.settled();
  }

  /** Waits until nothing is being embedded. */
  async settled() {
    await this.page.waitForFunction(() => document.querySelector("#run-state")?.textContent === "");
  }

  /** What the Copy button copies, parsed. */
  async copied() {
    await this.page.getByRole("button", { name: "Copy JSON" }).click();
    await this.page.getByRole("button", { name: "Copied" }).waitFor();
    return JSON.parse(await this.page.evaluate(() => navigator.clipboard.readText()));
  }

  /**
   * Drops files on an element, or pastes them, with the event that a browser would send.
   * @param {"drop" | "paste"} kind
   * @param {string} selector
   * @param {{ name: string, path: string }[]} files
   */
  async giveFiles(kind, selector, files) {
    const contents = files.map(({ name, path }) => ({ name, base64: readFileSync(path, "base64") }));
    await this.page.evaluate(
      ({ kind, selector, contents }) => {
        const transfer = new DataTransfer();
        for (const { name, base64 } of contents) {
          const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
          transfer.items.add(new File([bytes], name));
        }
        const options = { bubbles: true, cancelable: true };
        const event =
          kind === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: transfer })
            : new ClipboardEvent("paste", { ...options, clipboardData: transfer });
        document.querySelector(selector)?.dispatchEvent(event);
      },
      { kind, selector, contents },
    );
  }
}

/**
 * The workers of a page that hold a model, the oldest first.
 * @param {Page} page
 */
export function modelWorkers(page) {
  return page.workers().filter((worker) => worker.url().endsWith("/model-worker.js"));
}

/**
 * The code that an error on the page shows.
 * @param {Locator} error
 * @returns {Promise<string | null>}
 */
export function shownCode(error) {
  return error.locator("code").textContent();
}
