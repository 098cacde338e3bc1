// Shared by the tests of hosts: many kinds of hosts, and visits to the page on them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium, removeProfile, REPOSITORY } from "./browser.mjs";
import { CONTENT_TYPES, StaticServer, status } from "./server.mjs";

/** @import { Browser, BrowserContext, Frame, Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */
/** @import { Answer } from "./server.mjs" */

export const WWW = join(REPOSITORY, "www");
const PATIENCE = 20_000;

/**
 * How a host differs from a good one.
 * @typedef {object} Ways
 * @property {Record<string, string | null>} [types] by file name extension; `null` for no type
 * @property {{ name: string, of: (bytes: Buffer) => Buffer }} [encoding]
 * @property {boolean} [length] whether it sends the length of a file
 */

/**
 * @param {Ways} ways
 * @returns {(path: string) => Answer} for a file of the page
 */
export function sent({ types = {}, encoding, length = true }) {
  return (path) => (_request, response) => {
    const source = join(WWW, path.endsWith("/") ? `${path}index.html` : path);
    if (!statSync(source, { throwIfNoEntry: false })?.isFile()) {
      status(404)(_request, response);
      return;
    }
    const ending = extname(source);
    const type = ending in types ? types[ending] : (CONTENT_TYPES[ending] ?? "application/octet-stream");
    const bytes = encoding ? encoding.of(readFileSync(source)) : readFileSync(source);
    if (type) response.setHeader("content-type", type);
    if (encoding) response.setHeader("content-encoding", encoding.name);
    if (length) response.setHeader("content-length", bytes.length);
    else response.setHeader("transfer-encoding", "chunked");
    response.writeHead(200).end(bytes);
  };
}

/**
 * The page at the root of a host, until the test ends.
 * @param {TestContext} t
 * @param {{ headers?: Record<string, string>, answer?: (path: string) => Answer | null }} [ways]
 */
export async function hosted(t, { headers, answer } = {}) {
  const host = await new StaticServer(WWW, headers, answer).start();
  t.after(() => host.stop());
  return host;
}

/**
 * A new folder that has the page at a path, until the test ends.
 * @param {Pick<TestContext, "after">} t
 * @param {string} path such as `/a/b`
 */
export function folderWithPage(t, path) {
  const root = mkdtempSync(join(tmpdir(), "clip-wasm-host-"));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, path, ".."), { recursive: true });
  symlinkSync(WWW, join(root, path));
  return root;
}

/**
 * `python3 -m http.server` itself.
 * @param {string} folder
 * @returns {Promise<{ origin: string, stop: () => Promise<void> }>}
 */
export async function startPython(folder) {
  const server = spawn("python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]);
  let said = "";
  const exit = new Promise((resolve) => server.on("exit", resolve));
  server.stdout.on("data", (data) => (said += data));
  server.stderr.resume();
  for (let waited = 0; !/ port \d+/.test(said); waited += 50) {
    if (waited > PATIENCE) throw new Error(`python3 -m http.server says only: ${said}`);
    await pause(50);
  }
  return {
    origin: `http://127.0.0.1:${/ port (\d+)/.exec(said)?.[1]}`,
    async stop() {
      server.kill();
      await exit;
    },
  };
}

/** @returns {Promise<Browser>} */
export function launch() {
  return chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS });
}

/**
 * A browser with a user's settings, until the test ends.
 * @param {TestContext} t
 * @param {object} profile the value of `profile` in Chromium's preferences
 * @returns {Promise<BrowserContext>}
 */
export async function launchWithSettings(t, profile) {
  const folder = mkdtempSync(join(tmpdir(), "clip-wasm-profile-"));
  mkdirSync(join(folder, "Default"));
  writeFileSync(join(folder, "Default/Preferences"), JSON.stringify({ profile }));
  const context = await chromium.launchPersistentContext(folder, { executablePath: findChromium(), args: CHROMIUM_FLAGS });
  t.after(async () => {
    await context.close();
    await removeProfile(folder);
  });
  return context;
}

/**
 * A page in its own profile, and its console messages except plain information. An uncaught error fails the test.
 * @param {TestContext} t
 * @param {Browser | BrowserContext} browser
 */
export async function newPage(t, browser) {
  const context = "newContext" in browser ? await browser.newContext({ viewport: { width: 1280, height: 900 } }) : browser;
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  /** @type {string[]} */
  const said = [];
  /** @type {Error[]} */
  const thrown = [];
  page.on("console", (message) => {
    // Of every host; the page has its own icon.
    const isIcon = message.location().url.endsWith("/favicon.ico");
    if (["warning", "error"].includes(message.type()) && !isIcon) said.push(message.text());
  });
  page.on("pageerror", (error) => thrown.push(error));
  t.after(async () => {
    if (context !== browser) await context.close();
    if (thrown[0]) throw thrown[0];
  });
  return { page, said };
}

/**
 * The cosines of the first sample and its captions, as the table shows them when it is complete.
 * @param {Page | Frame} place
 * @returns {Promise<string[]>}
 */
export async function cosines(place) {
  try {
    await place.locator("#comparison td").first().waitFor();
  } catch (cause) {
    throw new Error(`no cosines. The page: ${JSON.stringify(await place.locator("body").innerText())}`, { cause });
  }
  await place.waitForFunction(() => document.querySelector("#run-state")?.textContent === "");
  return place.locator("#comparison td").allTextContents();
}

/** @type {string[] | undefined} */
let atRoot;

/**
 * The cosines on a host without faults, in its root folder.
 * @param {TestContext} t
 * @param {Browser | BrowserContext} browser
 */
export async function wantedCosines(t, browser) {
  if (!atRoot) {
    const host = await hosted(t);
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/`);
    atRoot = await cosines(page);
    assert.ok(atRoot.length >= 4, `${atRoot.length} cosines`);
    await page.close();
  }
  return atRoot;
}

/**
 * A first visit, a second one, and a third with the host stopped. Each must show the expected cosines, and leave the
 * console empty.
 * @param {TestContext} t
 * @param {Browser} browser
 * @param {string} url
 * @param {{ stop?: () => Promise<void> }} [host] without it there is no third visit
 * @returns {Promise<boolean[]>} whether the page was isolated in each visit
 */
export async function visits(t, browser, url, host) {
  const want = await wantedCosines(t, browser);
  const { page, said } = await newPage(t, browser);
  /** @type {boolean[]} */
  const isolated = [];
  const see = async () => {
    assert.deepEqual(await cosines(page), want, `visit ${isolated.length + 1}`);
    isolated.push(await page.evaluate(() => crossOriginIsolated));
  };
  await page.goto(url);
  await see();
  await page.locator("#offline").filter({ hasText: /^Works offline$/ }).waitFor();
  await page.reload();
  await see();
  assert.deepEqual(said, []);
  if (host?.stop) {
    await host.stop();
    await page.reload();
    await see();
    await page.locator("#offline").filter({ hasText: /^Offline now$/ }).waitFor();
  }
  await page.close();
  return isolated;
}

/**
 * The error that the page shows: its text, and its code.
 * @param {Page | Frame} place
 * @param {string} [selector] where it is, if not in the model's panel
 */
export async function errorShown(place, selector = "#model-error .error") {
  const error = place.locator(selector);
  await error.waitFor();
  return { text: String(await error.textContent()), code: await error.locator("code").last().textContent() };
}
