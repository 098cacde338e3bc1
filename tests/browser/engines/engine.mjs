// Chromium, Firefox and WebKit, each started with its own WebDriver, and ended with all its processes.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Builder } from "selenium-webdriver";
import { CHROMIUM_FLAGS, SOFTWARE_GPU_FLAGS } from "../support/browser.mjs";

/** @import { ChildProcess } from "node:child_process" */
/** @import { Readable } from "node:stream" */
/** @import { WebDriver } from "selenium-webdriver" */

/** @typedef {"chromium" | "firefox" | "webkit"} EngineName */

/**
 * @typedef {object} Kind
 * @property {string} title the browser's name
 * @property {() => Record<string, string | null>} programs paths of the programs that it needs, by name; `null` for one
 *   that is missing
 * @property {(browser: string, options: Options) => Record<string, unknown>} capabilities for its WebDriver
 * @property {boolean} [needsDisplay] whether it cannot be started without a screen
 */

/**
 * @typedef {object} Options
 * @property {boolean} [softwareGpu] with WebGPU on the processor, where there is such a thing
 * @property {boolean} [onScreen] Chromium with windows and tabs, of which one is seen, on a virtual screen
 * @property {string[]} [flags] further ones of Chromium
 */

// A CommonJS folder: one import cannot give both the module and its types.
const { DriverService } = /** @type {typeof import("selenium-webdriver/remote.js")} */ (createRequire(import.meta.url)("selenium-webdriver/remote"));

/** Milliseconds for a driver, or a display, to answer. */
const START = 30_000;
/** Milliseconds for a page to load, and for a script to give its result. */
const LIMITS = { pageLoad: 30_000, script: 90_000, implicit: 0 };
export const WINDOW = { width: 1280, height: 900 };

/** Preferences with which Firefox takes any adapter, such as lavapipe. */
const FIREFOX_GPU = { "dom.webgpu.enabled": true, "dom.webgpu.workers.enabled": true, "gfx.webgpu.ignore-blocklist": true };

/** @type {Record<EngineName, Kind>} */
const KINDS = {
  chromium: {
    title: "Chromium",
    programs: () => ({
      chromium: find("CHROMIUM", "chromium", "google-chrome", "chromium-browser"),
      chromedriver: find("CHROMEDRIVER", "chromedriver"),
    }),
    capabilities: (binary, { softwareGpu, onScreen, flags = [] }) => ({
      browserName: "chrome",
      "goog:chromeOptions": { binary, args: [...(onScreen ? [] : ["--headless"]), ...(softwareGpu ? SOFTWARE_GPU_FLAGS : CHROMIUM_FLAGS), ...flags] },
    }),
  },
  firefox: {
    title: "Firefox",
    programs: () => ({
      firefox: find("FIREFOX", "firefox-esr", "firefox"),
      geckodriver: find("GECKODRIVER", "geckodriver"),
    }),
    capabilities: (binary, { softwareGpu }) => ({ browserName: "firefox", "moz:firefoxOptions": { binary, args: ["-headless"], prefs: softwareGpu ? FIREFOX_GPU : {} } }),
  },
  webkit: {
    title: "WebKitGTK",
    programs: () => ({
      MiniBrowser: findMiniBrowser(),
      WebKitWebDriver: find("WEBKIT_DRIVER", "WebKitWebDriver"),
    }),
    capabilities: (binary) => ({
      browserName: "MiniBrowser",
      // A page that was left must not stay in memory with its workers in case the user goes back.
      "webkitgtk:browserOptions": { binary, args: ["--automation", "--enable-page-cache=false"] },
    }),
    needsDisplay: true,
  },
};

/** @type {EngineName[]} */
export const ENGINES = ["chromium", "firefox", "webkit"];

/** The program of a virtual screen. */
const display = () => find("XVFB", "Xvfb");

/**
 * @param {EngineName} name
 * @param {Options} [options]
 * @returns {string | null} why it cannot be started here, `null` if it can
 */
export function whyNot(name, { onScreen } = {}) {
  const { title, programs, needsDisplay } = KINDS[name];
  const missing = Object.entries({ ...programs(), ...((needsDisplay || onScreen) && { Xvfb: display() }) }).flatMap(([program, path]) => (path ? [] : [program]));
  return missing.length === 0 ? null : `${title} is not tested: ${missing.join(" and ")} not installed`;
}

/** A running browser with one window. */
export class Engine {
  #ends;

  /**
   * Use {@link Engine.start}.
   * @param {EngineName} name
   * @param {WebDriver} driver
   * @param {string} title the browser's name and major version
   * @param {(() => unknown)[]} ends functions that end its parts, to be called in reverse order
   */
  constructor(name, driver, title, ends) {
    this.name = name;
    this.driver = driver;
    this.title = title;
    this.#ends = ends;
  }

  /**
   * @param {EngineName} name of an engine for which {@link whyNot} gives `null`
   * @param {Options} [options]
   * @returns {Promise<Engine>}
   */
  static async start(name, options = {}) {
    const kind = KINDS[name];
    const [browser, driverProgram] = /** @type {string[]} */ (Object.values(kind.programs()));
    /** @type {(() => unknown)[]} */
    const ends = [];
    try {
      /** @type {Record<string, string>} */
      const environment = { ...process.env, MOZ_HEADLESS: "1", WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", NO_AT_BRIDGE: "1" };
      if (kind.needsDisplay || options.onScreen) {
        const { number, process } = await startDisplay(String(display()));
        ends.push(() => process.kill());
        environment.DISPLAY = number;
      }
      const service = new DriverService.Builder(String(driverProgram)).setLoopback(true).setEnvironment(environment).build();
      ends.push(() => service.kill());
      const server = await service.start(START);
      const builder = new Builder().disableEnvironmentOverrides().usingServer(server);
      const driver = await within(START, `${kind.title} starts`, builder.withCapabilities(kind.capabilities(String(browser), options)).build());
      ends.push(() => within(START, `${kind.title} ends`, driver.quit()));
      await driver.manage().setTimeouts(LIMITS);
      await driver.manage().window().setRect({ x: 0, y: 0, ...WINDOW });
      const version = (await driver.getCapabilities()).get("browserVersion");
      return new Engine(name, driver, `${kind.title} ${versionOf(name, version)}`, ends);
    } catch (error) {
      await endAll(ends);
      throw error;
    }
  }

  async close() {
    await endAll(this.#ends);
  }

  /** Bytes of memory that the browser's processes use, with shared pages counted once; 0 if that is not known. */
  memory() {
    return descendants(process.pid).reduce((sum, pid) => sum + proportionalSize(pid), 0);
  }
}

/** @param {(() => unknown)[]} ends */
async function endAll(ends) {
  for (const end of ends.splice(0).reverse()) await Promise.resolve(end()).catch(() => {}); // a failure does not stop the next one
}

/**
 * @param {EngineName} name
 * @param {string} version
 */
function versionOf(name, version) {
  const [major, minor] = version.split(".");
  return name === "webkit" ? `${major}.${minor}` : major;
}

/**
 * @param {string} variable that may name the program
 * @param {string[]} names
 * @returns {string | null}
 */
function find(variable, ...names) {
  const given = process.env[variable];
  if (given) return given;
  for (const name of names) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      continue;
    }
  }
  return null;
}

/** WebKitGTK's own browser. Debian installs it beside the library, and not in PATH. */
function findMiniBrowser() {
  const libraries = ["/usr/libexec", ...listed("/usr/lib").map((name) => join("/usr/lib", name))];
  for (const library of libraries) {
    for (const name of listed(library)) {
      const path = join(library, name, "MiniBrowser");
      if (/^webkit(2)?gtk-/.test(name) && existsSync(path)) return path;
    }
  }
  return null;
}

/** @param {string} directory */
function listed(directory) {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * A virtual screen.
 * @param {string} program Xvfb
 * @returns {Promise<{ number: string, process: ChildProcess }>} `number`: the value of DISPLAY
 */
async function startDisplay(program) {
  const server = spawn(program, ["-displayfd", "3", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  process.once("exit", () => server.kill());
  const told = new Promise((resolve, reject) => {
    /** @type {Readable} */ (server.stdio[3]).once("data", (number) => resolve(`:${String(number).trim()}`));
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`Xvfb ended with ${code}`)));
  });
  return { number: await within(START, "Xvfb starts", told), process: server };
}

/**
 * @template T
 * @param {number} milliseconds
 * @param {string} what
 * @param {PromiseLike<T>} work
 * @returns {Promise<T>}
 */
export async function within(milliseconds, what, work) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds / 1000} seconds: ${what}`)), milliseconds);
  });
  return /** @type {Promise<T>} */ (Promise.race([work, late]).finally(() => clearTimeout(timer)));
}

/**
 * @param {number} root
 * @returns {number[]} the ids of all processes below one
 */
function descendants(root) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const name of listed("/proc").filter((name) => /^\d+$/.test(name))) {
    const parent = Number(/\) \S (\d+)/.exec(contents(`/proc/${name}/stat`))?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = children.get(root) ?? [];
  for (let i = 0; i < found.length; i++) found.push(...(children.get(Number(found[i])) ?? [])); // the list grows meanwhile
  return found;
}

/** @param {number} pid */
function proportionalSize(pid) {
  return 1024 * Number(/^Pss: +(\d+)/m.exec(contents(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
}

/** @param {string} path */
function contents(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended, or belongs to another user
  }
}
