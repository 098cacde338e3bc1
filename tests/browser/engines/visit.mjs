// A visit to the page by WebDriver, with a method for each action of a user. Every visit has its own origin, so that
// nothing is stored from the visit before.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { By } from "selenium-webdriver";
import { HUB_HEADERS, REPOSITORY, TEST_DATA } from "../support/browser.mjs";
import { noSamples, StaticServer } from "../support/server.mjs";

/** @import { Engine } from "./engine.mjs" */

/**
 * A test: what a visitor does, and what must result.
 * @typedef {object} Case
 * @property {string} name
 * @property {VisitOptions} [options]
 * @property {number} [timeout] milliseconds
 * @property {RegExp} [expectedComplaint] what the console may say
 * @property {(given: { visit: Visit, engine: Engine, facts: Facts, scratch: (name: string, contents: string | Buffer) => string }) => Promise<void>} run
 *   `scratch` makes a file and gives its path
 */

/**
 * What the tests found out about an engine.
 * @typedef {object} Facts
 * @property {number[][]} [vectors] of the captions and the pictures
 * @property {number} [difference] the largest difference of a component from the command line's
 * @property {string} [build]
 * @property {number} [threads]
 * @property {string} [keptIn]
 * @property {number} [seconds] that a full-size model takes to load from its server
 * @property {number} [secondsKept] and from this device's storage
 * @property {number} [memory] bytes of the machine's memory that it takes
 */

/**
 * @typedef {object} VisitOptions
 * @property {boolean} [samples] whether the page embeds its first sample at once
 * @property {boolean} [isolated] whether its host isolates the page, rather than its service worker from the second
 *   visit on
 */

const WWW = join(REPOSITORY, "www");
/** Milliseconds to wait for something on the page. */
const PATIENCE = 20_000;
const LOOK = 50;
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

export class Visit {
  #engine;
  #driver;
  /** @type {string} the window that stays */
  #window = "";

  /**
   * Use {@link Visit.open}.
   * @param {Engine} engine
   * @param {StaticServer} own the page's server
   * @param {StaticServer} hub the server of the weights, on another origin
   */
  constructor(engine, own, hub) {
    this.#engine = engine;
    this.#driver = engine.driver;
    this.own = own;
    this.hub = hub;
  }

  /**
   * @param {Engine} engine
   * @param {VisitOptions} options
   */
  static async open(engine, { samples = false, isolated = false }) {
    const own = await new StaticServer(WWW, isolated ? ISOLATION : {}).start();
    const hub = await new StaticServer(TEST_DATA, { ...HUB_HEADERS, "cross-origin-resource-policy": "cross-origin" }).start();
    for (const script of ["main.js", "pkg/workers/model-worker.js", "pkg/workers/picture-worker.js", "pkg/workers/wasm-thread.js", "sw.js"]) {
      const api = script === "main.js" ? 'globalThis.clipApi = () => import("./clip.js");' : "";
      const source = `(${recordComplaints})();${api}\n${readFileSync(join(WWW, script), "utf8")}`;
      own.answer(`/${script}`, (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(source));
    }
    if (!samples) own.answer("/samples.json", noSamples);
    const visit = new Visit(engine, own, hub);
    visit.#window = await engine.driver.getWindowHandle();
    await visit.go("/");
    return visit;
  }

  /** Leaves the page. @returns {Promise<string[]>} the console messages and errors of the page and its workers */
  async end() {
    try {
      const complaints = [];
      for (const window of await this.#driver.getAllWindowHandles()) {
        await this.#driver.switchTo().window(window);
        complaints.push(...(await this.evaluate(() => JSON.parse(sessionStorage.getItem("complaints") ?? "[]"))));
        if (window !== this.#window) await this.#driver.close();
      }
      await this.#driver.switchTo().window(this.#window);
      await this.#driver.get("about:blank"); // which ends its workers
      return complaints;
    } finally {
      await this.stopServers();
    }
  }

  async stopServers() {
    await Promise.all([this.own.stop(), this.hub.stop()].map((stopped) => stopped.catch(() => {})));
  }

  /** @param {string} path */
  async go(path) {
    await this.#driver.get(this.own.origin + path);
    await this.#started();
  }

  /**
   * The next visit. Not with the driver's own reload: in Firefox it bypasses the service worker, as Ctrl+Shift+R does.
   */
  async revisit() {
    const address = await this.evaluate(() => location.href);
    await this.#driver.get("about:blank");
    await this.#driver.get(address);
    await this.#started();
  }

  /**
   * WebKit's driver does not wait for a page's modules, and WebKit reports that sw.js cannot be loaded if the page is
   * left before it has arrived.
   */
  async #started() {
    await this.waitFor("the page's script has run", () =>
      this.evaluate(() => document.readyState === "complete" && ("clipApi" in globalThis || document.querySelector("[src='main.js']") === null)),
    );
    await this.waitFor("the service worker is registered", () => this.evaluate(async () => (await navigator.serviceWorker.getRegistration()) !== undefined));
  }

  /** Opens another window and switches to it. @param {string} path */
  async openTab(path) {
    await this.#driver.switchTo().newWindow("tab");
    await this.go(path);
  }

  /** Switches back from {@link Visit.openTab}. */
  async closeTab() {
    await this.#driver.close();
    await this.#driver.switchTo().window(this.#window);
  }

  /**
   * @template T
   * @template {unknown[]} A
   * @param {(...args: A) => T} script run in the page
   * @param {A} args
   * @returns {Promise<Awaited<T>>}
   */
  async evaluate(script, ...args) {
    const { value, error } = await this.#driver.executeAsyncScript(
      `const [args, done] = arguments;
      new Promise((resolve) => resolve((${script})(...args))).then(
        (value) => done({ value }),
        (error) => done({ error: \`\${error?.code ?? ""} \${error} \${error?.stack ?? ""}\` }),
      );`,
      args,
    );
    if (error) throw new Error(`in the page of ${this.#engine.title}: ${error}`);
    return value;
  }

  /**
   * @param {string} what
   * @param {() => Promise<unknown> | unknown} condition
   * @param {number} [patience] milliseconds
   */
  async waitFor(what, condition, patience = PATIENCE) {
    const end = Date.now() + patience;
    while (!(await condition())) {
      if (Date.now() > end) {
        const panels = await this.evaluate(() => [...document.querySelectorAll("main > :not([hidden])")].map((panel) => /** @type {HTMLElement} */ (panel).innerText));
        const asked = [...this.own.requests.slice(-8), ...this.hub.requests].join(" ");
        assert.fail(`not within ${patience / 1000} s: ${what}. The page: ${JSON.stringify(panels.join("\n"))}. Asked for last: ${asked}`);
      }
      await pause(LOOK);
    }
  }

  /**
   * @param {string} selector
   * @returns {Promise<string>} empty if there is none
   */
  text(selector) {
    return this.evaluate((selector) => document.querySelector(selector)?.textContent ?? "", selector);
  }

  /** @param {string} selector @returns {Promise<string[]>} */
  texts(selector) {
    return this.evaluate((selector) => [...document.querySelectorAll(selector)].map(({ textContent }) => textContent ?? ""), selector);
  }

  /**
   * @param {string} selector
   * @param {RegExp} pattern
   * @param {number} [patience] milliseconds
   */
  async says(selector, pattern, patience) {
    let said = "";
    try {
      await this.waitFor(`${selector} says ${pattern}`, async () => pattern.test((said = await this.text(selector))), patience);
    } catch (cause) {
      throw new Error(`${selector} says “${said}”, not ${pattern}`, { cause });
    }
    return said;
  }

  /** @param {string} selector */
  isVisible(selector) {
    return this.evaluate((selector) => {
      const element = document.querySelector(selector);
      return element !== null && element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";
    }, selector);
  }

  /**
   * Scrolls the element to the middle of the window at once: otherwise a driver clicks where it was before the page has
   * scrolled.
   * @param {string} selector
   */
  async element(selector) {
    await this.evaluate((selector) => document.querySelector(selector)?.scrollIntoView({ block: "center", behavior: "instant" }), selector);
    return this.#driver.findElement(By.css(selector));
  }

  /** @param {string} selector */
  async click(selector) {
    await (await this.element(selector)).click();
  }

  /**
   * Types on the keyboard. Chromium's driver cannot type characters beyond Unicode's first plane.
   * @param {string} selector
   * @param {string} text
   */
  async type(selector, text) {
    const element = await this.element(selector);
    await element.clear();
    await element.sendKeys(text);
  }

  /**
   * Fills in a field at once, as by pasting.
   * @param {string} selector
   * @param {string} text
   */
  async fill(selector, text) {
    await this.evaluate(
      (selector, text) => {
        const field = /** @type {HTMLTextAreaElement} */ (document.querySelector(selector));
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      },
      selector,
      text,
    );
  }

  /**
   * Chooses files, as in the browser's file dialog.
   * @param {string} selector of its input
   * @param {string[]} paths
   */
  async choose(selector, paths) {
    await (await this.element(selector)).sendKeys(paths.join("\n"));
  }

  /**
   * Drags the pointer with its button held down.
   * @param {string} selector
   * @param {{ x: number, y: number }[]} path in CSS pixels from the element's middle
   */
  async drag(selector, path) {
    const origin = await this.element(selector);
    const [first, ...others] = path.map((point) => ({ ...point, origin, duration: 50 }));
    let actions = this.#driver.actions().move(/** @type {any} */ (first)).press();
    for (const point of others) actions = actions.move(point);
    await actions.release().perform();
  }

  /** Opens the panel in which a model is chosen. */
  async openModelPanel() {
    if (!(await this.isVisible("#model-panel"))) await this.click("#model-change");
  }

  /** @param {"menu" | "url" | "file"} origin */
  async chooseOrigin(origin) {
    await this.openModelPanel();
    await this.click(`.origins label:has([value=${origin}])`);
  }

  /** Types a URL and presses Load. @param {string} url */
  async loadUrl(url) {
    await this.chooseOrigin("url");
    await this.type("#model-url", url);
    await this.click("#model-load");
  }

  /** Chooses files and presses Load. @param {string[]} paths */
  async loadFiles(paths) {
    await this.chooseOrigin("file");
    await this.choose("#model-file", paths);
    await this.click("#model-load");
  }

  /** Waits until both towers of a model are loaded. @param {number} [patience] milliseconds */
  async ready(patience) {
    return this.says("#model-state", /^Ready: (?!.*the rest)/, patience);
  }

  /** Loads the tiny model from its URL. @returns {Promise<string>} the URL */
  async loadTinyModel() {
    const url = `${this.hub.origin}/tiny-gelu.q8_0.gguf`;
    await this.loadUrl(url);
    await this.ready();
    return url;
  }

  /** Presses Embed and waits until it is done. @returns {Promise<any>} the JSON */
  async embed() {
    await this.click("#embed");
    await this.settled();
    return this.json();
  }

  /** Waits until nothing is being embedded. */
  async settled() {
    await this.waitFor("the run has ended", async () => (await this.text("#run-state")) === "");
  }

  /** The JSON that is shown, completely unfolded. */
  async json() {
    const shown = await this.evaluate(() => {
      const copy = /** @type {HTMLElement} */ (document.querySelector("#json")?.cloneNode(true));
      for (const fold of /** @type {NodeListOf<HTMLElement>} */ (copy.querySelectorAll(".fold"))) fold.replaceWith(fold.dataset.numbers ?? "");
      return String(copy.textContent);
    });
    return JSON.parse(shown);
  }

  /** Waits until the service worker controls the page, and has stored its files. */
  async served() {
    await this.says("#offline", /^Works offline$/);
    await this.evaluate(() => navigator.serviceWorker.ready.then(() => true));
  }

  /** @param {string} prefix of paths @returns {string[]} the builds of the module that have been requested */
  builds(prefix = "/pkg/") {
    const modules = this.own.requests.filter((path) => path.startsWith(prefix) && path.endsWith(".wasm"));
    return [...new Set(modules.map((path) => String(path.split("/").at(-2))))];
  }
}

/** Runs before the scripts of the page and of its workers: collects their console messages for {@link Visit.end}. */
function recordComplaints() {
  const channel = new BroadcastChannel("complaints");
  const keep = (/** @type {string} */ text) => {
    const kept = JSON.parse(sessionStorage.getItem("complaints") ?? "[]");
    sessionStorage.setItem("complaints", JSON.stringify([...kept, text]));
  };
  const isPage = "document" in globalThis;
  const tell = (/** @type {string} */ text) => (isPage ? keep(text) : channel.postMessage(`${text} (in ${location.pathname})`));
  if (isPage) channel.onmessage = ({ data }) => keep(data);
  for (const level of /** @type {const} */ (["error", "warn"])) {
    const print = console[level];
    console[level] = (...args) => {
      tell(`${level}: ${args.join(" ")}`);
      print.apply(console, args);
    };
  }
  const counts = Object.assign(globalThis, { permissionsAsked: 0 });
  const storage = navigator.storage ?? {};
  const { persist } = storage;
  storage.persist = function () {
    counts.permissionsAsked++;
    return persist.call(this);
  };
  addEventListener("error", ({ message }) => tell(`thrown: ${message}`));
  addEventListener("unhandledrejection", ({ reason }) => tell(`rejected: ${reason}`));
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => tell(`against the policy: ${violatedDirective} ${blockedURI}`));
}
