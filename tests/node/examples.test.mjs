// Runs each of the examples as its reader would.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { REPOSITORY, Site } from "../browser/support/browser.mjs";
import { StaticServer } from "../browser/support/server.mjs";
import { largestDifference } from "../browser/support/vectors.mjs";
import { commandLine, HEARTS, DEMO, Installed } from "./installed.mjs";

/** @import { Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */

const EXAMPLES = join(REPOSITORY, "examples");

/** @type {Installed} */
let installed;
/** @type {Site} */
let site;
/** @type {StaticServer} serves the repository's folder, as the examples say */
let repository;

before(async () => {
  installed = new Installed();
  site = await Site.open();
  repository = await new StaticServer(REPOSITORY).start();
});
after(async () => {
  await site.close();
  await repository.stop();
  installed.remove();
});

/**
 * The text that a page prints when it is done.
 * @param {Page} page
 */
async function result(page) {
  const element = page.locator("#result").filter({ hasText: /^[[{]/ });
  await element.waitFor();
  return JSON.parse(String(await element.textContent()));
}

/**
 * @param {number[][]} given
 * @param {number[][]} wanted
 */
function assertClose(given, wanted) {
  assert.equal(given.length, wanted.length);
  for (const [i, vector] of given.entries()) {
    const difference = largestDifference(vector, wanted[i] ?? []);
    assert.ok(difference <= 1e-5, `a component of vector ${i} differs by ${difference} from the command line's`);
  }
}

test("html", async (t) => {
  const { page } = await site.newPage(t);
  await page.goto(`${repository.origin}/examples/html/`);
  assertClose((await result(page)).data, commandLine("--text", "three red hearts"));
});

test("worker", async (t) => {
  const { page } = await site.newPage(t);
  await page.goto(`${repository.origin}/examples/worker/`);
  const { image, captions } = await result(page);
  assertClose([...captions, image], commandLine("--text", "three red hearts", "--text", "two blue stars", "--image", HEARTS));
});

test("node", (t) => {
  const folder = copy(t, "node");
  const captions = ["three red hearts", "two blue stars"];
  const printed = execFileSync(process.execPath, ["embed.js", DEMO, HEARTS, ...captions], { cwd: folder, encoding: "utf8", timeout: 60_000 });
  const [image, ...texts] = rotate(commandLine(...captions.flatMap((text) => ["--text", text]), "--image", HEARTS));
  const cosines = texts.map((text) => text.reduce((sum, value, i) => sum + value * Number(image?.[i]), 0));
  assert.equal(printed, captions.map((caption, i) => `${cosines[i]?.toFixed(4)}  ${caption}\n`).join(""));
  assert.ok(Number(cosines[0]) > Number(cosines[1]));
});

/**
 * An example with the package installed, in a folder from which the repository's own packages are found.
 * @param {TestContext} t
 * @param {string} name
 */
function copy(t, name) {
  const folder = mkdtempSync(join(REPOSITORY, "target", `example-${name}-`));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(join(EXAMPLES, name), folder, { recursive: true, filter: (path) => !path.includes("node_modules") });
  cpSync(join(installed.folder, "node_modules"), join(folder, "node_modules"), { recursive: true });
  return folder;
}

/**
 * Moves the last to the front, as in an example: the command line gives texts before images.
 * @template T
 * @param {T[]} list
 */
function rotate(list) {
  return [...list.slice(-1), ...list.slice(0, -1)];
}
