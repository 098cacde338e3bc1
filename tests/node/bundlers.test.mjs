// Builds the example of each bundler as its reader would, and opens the page in Chromium; runs the example of Node in
// other runtimes.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium, removeProfile, REPOSITORY, Site } from "../browser/support/browser.mjs";
import { file, StaticServer } from "../browser/support/server.mjs";
import { largestDifference } from "../browser/support/vectors.mjs";
import { commandLine, HEARTS, DEMO, Installed } from "./installed.mjs";

/** @import { TestContext } from "node:test" */

const EXAMPLES = join(REPOSITORY, "examples");
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
/** Milliseconds for a build. */
const BUILD = 240_000;
const PATIENCE = 60_000;

/** Where each bundler puts the page that it makes. */
const BUNDLERS = { vite: "dist", webpack: "", rollup: "", esbuild: "", bun: "" };

/** @type {Installed} */
let installed;
/** @type {Site} */
let site;

before(async () => {
  if (!existsSync(join(EXAMPLES, "node_modules"))) throw new Error("examples/node_modules is missing: run npm ci in examples/");
  installed = new Installed();
  site = await Site.open();
});
after(async () => {
  await site.close();
  installed.remove();
});

/**
 * An example with the package installed, beside the others, where the tools are found.
 * @param {TestContext} t
 * @param {string} name
 */
function copy(t, name) {
  const folder = mkdtempSync(join(EXAMPLES, `.${name}-`));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(join(EXAMPLES, name), folder, { recursive: true, filter: (path) => !path.includes("node_modules") });
  cpSync(join(installed.folder, "node_modules"), join(folder, "node_modules"), { recursive: true });
  return folder;
}

/**
 * Runs a command of an example.
 * @param {string} folder
 * @param {string} command
 * @param {string[]} parameters
 */
function run(folder, command, ...parameters) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", PATH: `${join(EXAMPLES, "node_modules/.bin")}:${process.env.PATH}` };
  return execFileSync(command, parameters, { cwd: folder, env, encoding: "utf8", timeout: BUILD, stdio: ["ignore", "pipe", "inherit"] });
}

/**
 * Chooses a picture on an example's page, whose vector has to be the command line's.
 * @param {TestContext} t
 * @param {string} url
 */
async function assertEmbeds(t, url) {
  const { page } = await site.newPage(t);
  await assertShows(page, url);
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} url
 */
async function assertShows(page, url) {
  await page.goto(url);
  const result = page.locator("#result");
  await result.filter({ hasText: /^(Choose a picture|\{)/ }).waitFor({ timeout: PATIENCE });
  assert.equal(await result.textContent(), "Choose a picture");
  await page.getByLabel("Picture").setInputFiles(HEARTS);
  await result.filter({ hasText: /^\{/ }).waitFor({ timeout: PATIENCE });
  const { data } = JSON.parse(String(await result.textContent()));
  const difference = largestDifference(data?.[0] ?? [], commandLine("--image", HEARTS)[0] ?? []);
  assert.ok(difference <= 1e-5, `a component differs by ${difference} from the command line's`);
}

/** @param {string} folder of a build, in which no path of this machine may be */
function assertPortable(folder) {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  for (const path of paths.filter((path) => /\.(m?js|css|html|map)$/.test(path))) {
    const source = join(folder, path);
    if (!statSync(source).isFile()) continue;
    const text = readFileSync(source, "utf8");
    const at = text.indexOf(REPOSITORY);
    assert.equal(at, -1, `${path} has a path of this machine at ${at}`);
  }
}

describe("a page is built by", () => {
  for (const [name, site] of Object.entries(BUNDLERS)) {
    test(name, { timeout: BUILD + PATIENCE }, async (t) => {
      const folder = copy(t, name);
      run(folder, "npm", "run", "--silent", "build");
      assertPortable(join(folder, "dist"));
      for (const headers of [{}, ISOLATION]) {
        const server = await new StaticServer(join(folder, site), headers).start();
        t.after(() => server.stop());
        server.answer("/demo.gguf", file(DEMO));
        await assertEmbeds(t, `${server.origin}/`);
      }
    });
  }

  test("Next.js, for the browser and for the server", { timeout: BUILD + 2 * PATIENCE }, async (t) => {
    const folder = copy(t, "next");
    cpSync(DEMO, join(folder, "public/demo.gguf"));
    run(folder, "npm", "run", "--silent", "build");
    assertPortable(join(folder, ".next/static"));
    const server = spawn(process.execPath, [join(EXAMPLES, "node_modules/next/dist/bin/next"), "start", "--port", "0"], { cwd: folder, env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" } });
    t.after(() => void server.kill());
    let said = "";
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (data) => (said += data));
    const address = async () => {
      for (let waited = 0; waited < PATIENCE; waited += 100) {
        const [origin] = /http:\/\/localhost:\d+/.exec(said) ?? [];
        if (origin && said.includes("Ready")) return origin;
        await pause(100);
      }
      throw new Error(`Next.js does not start: ${said}`);
    };
    const origin = await address();
    await assertEmbeds(t, `${origin}/`);
    const response = await fetch(`${origin}/api/embed`, { method: "POST", body: JSON.stringify({ inputs: ["three red hearts"] }), signal: AbortSignal.timeout(PATIENCE) });
    const { data, error } = await response.json();
    const difference = largestDifference(data?.[0] ?? [], commandLine("--text", "three red hearts")[0] ?? []);
    assert.ok(difference <= 1e-5, `${difference} ${JSON.stringify(error)} ${said}`);
  });

  test("esbuild without libraryUrl: the error gives the line to add", { timeout: BUILD }, async (t) => {
    const folder = copy(t, "esbuild");
    cpSync(join(EXAMPLES, "vite/main.js"), join(folder, "main.js"));
    run(folder, "npm", "run", "--silent", "build");
    const server = await new StaticServer(folder).start();
    t.after(() => server.stop());
    const { page } = await site.newPage(t);
    server.answer("/", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><link rel=icon href=data:,>"));
    server.answer("/demo.gguf", file(DEMO));
    await page.goto(server.origin);
    const message = await page.evaluate(async () => {
      document.body.innerHTML = "<pre id=result></pre><input id=picture>";
      return import(String("/dist/main.js")).catch((error) => `${error.code}: ${error.message}`);
    });
    assert.match(message, /^worker_failed: .+ClipEncoder\.load\(model, \{ libraryUrl: "\/clip-wasm\/" \}\)/);
  });
});

test("an extension: its page, and its service worker without workers", { timeout: BUILD }, async (t) => {
  const folder = copy(t, "extension");
  cpSync(DEMO, join(folder, "demo.gguf"));
  run(folder, "npm", "run", "--silent", "build");
  rmSync(join(folder, "node_modules"), { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), "clip-wasm-extension-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findChromium(),
    args: [...CHROMIUM_FLAGS, `--disable-extensions-except=${folder}`, `--load-extension=${folder}`],
    ignoreDefaultArgs: ["--disable-extensions"],
  });
  t.after(async () => {
    await context.close();
    await removeProfile(profile);
  });
  const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent("serviceworker", { timeout: PATIENCE }));
  const page = await context.newPage();
  await assertShows(page, new URL("popup.html", worker.url()).href);
  const { data, error } = await page.evaluate(() => /** @type {any} */ (globalThis).chrome.runtime.sendMessage({ texts: ["three red hearts"] }));
  const difference = largestDifference(data?.[0] ?? [], commandLine("--text", "three red hearts")[0] ?? []);
  assert.ok(difference <= 1e-5, `${difference} ${JSON.stringify(error)}`);
});

test("README's table has every example, and each is tested", () => {
  const rows = [...readFileSync(join(REPOSITORY, "README.md"), "utf8").matchAll(/^\|.*\]\(examples\/(\w+)\) \|$/gm)].map(([, name]) => String(name));
  const folders = readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory() && /^[a-z]+$/.test(entry.name) && entry.name !== "ray").map(({ name }) => name);
  assert.deepEqual([...new Set(rows)].sort(), folders.sort());
  const tests = ["bundlers", "examples"].map((name) => readFileSync(join(import.meta.dirname, `${name}.test.mjs`), "utf8")).join("");
  assert.deepEqual(folders.filter((name) => !new RegExp(`\\b${name}\\b`).test(tests)), []);
});

describe("the example of Node runs in", () => {
  /** @type {Record<string, string[]>} */
  const runtimes = { deno: ["run", "--allow-all"], bun: [] };
  for (const [name, options] of Object.entries(runtimes)) {
    test(name, { timeout: PATIENCE }, (t) => {
      const folder = copy(t, "node");
      const captions = ["three red hearts", "two blue stars"];
      const want = execFileSync(process.execPath, ["embed.js", DEMO, HEARTS, ...captions], { cwd: folder, encoding: "utf8", timeout: PATIENCE });
      assert.match(want, /^0\.\d{4} {2}three red hearts\n0\.\d{4} {2}two blue stars\n$/);
      assert.equal(run(folder, name, ...options, "embed.js", DEMO, HEARTS, ...captions), want);
    });
  }
});
