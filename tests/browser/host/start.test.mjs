// A page whose scripts do not run says why.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { record } from "../../reliability/record.mjs";
import { errorShown, hosted, launch, newPage, sent, WWW } from "../support/hosts.mjs";
import { status, webPage } from "../support/server.mjs";

/** @import { Browser } from "playwright-core" */
/** @import { Answer } from "../support/server.mjs" */

/** @type {Browser} */
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/**
 * @param {string | null} type
 * @returns {(path: string) => Answer | null}
 */
const scriptsAs = (type) => (path) => (/\.js$/.test(path) ? sent({ types: { ".js": type } })(path) : null);

/**
 * @param {string} path
 * @param {Answer} answer
 * @returns {(path: string) => Answer | null}
 */
const only = (path, answer) => (asked) => (asked === path ? answer : null);

/** @type {Answer} */
const broken = (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end("export const x = ;");

describe("the notice in place of a start", () => {
  let passed = 0;
  for (const [what, answer, code, says] of /** @type {[string, (path: string) => Answer | null, string, RegExp][]} */ ([
    ["scripts are sent as text/plain", scriptsAs("text/plain"), "script_type", /main\.js has type text\/plain.*Let the host send \.js files as text\/javascript/],
    ["scripts are sent as application/octet-stream", scriptsAs("application/octet-stream"), "script_type", /main\.js has type application\/octet-stream/],
    ["scripts are sent without a type", scriptsAs(null), "script_type", /main\.js has no type/],
    ["the first module is missing", only("/main.js", status(404)), "script_missing", /main\.js has status 404/],
    ["a module that others import is missing", only("/lib/client/similarity.js", status(404)), "script_missing", /similarity\.js has status 404/],
    ["a web page is sent for a module", only("/lib/client/similarity.js", webPage("text/html")), "script_missing", /similarity\.js is a web page/],
    ["a module is broken, as for a browser that is too old", only("/lib/client/similarity.js", broken), "script_failed", /SyntaxError/],
  ])) {
    test(`${what}: ${code}`, async (t) => {
      const host = await hosted(t, { answer });
      const page = await (await browser.newContext()).newPage();
      t.after(() => page.context().close());
      await page.goto(`${host.origin}/`);
      const notice = page.locator("#not-started[role=alert]");
      await notice.waitFor();
      const shown = await errorShown(page, "#not-started");
      assert.equal(shown.code, code);
      assert.match(shown.text, says);
      passed++;
    });
  }

  test("the folder is opened from a disk: opened_from_disk", async (t) => {
    const { page } = await newPage(t, browser);
    await page.goto(pathToFileURL(join(WWW, "index.html")).href);
    const shown = await errorShown(page, "#not-started");
    assert.equal(shown.code, "opened_from_disk");
    assert.match(shown.text, /python3 -m http\.server.*clip-wasm\.html/);
    record({ section: "hosts", what: "the folder opened from a disk (file:)", tried: "index.html", outcome: "a notice names a server and the single file" });
  });

  test("the folder's address lacks its slash, and the host does not redirect: even styles and start.js are missing", async (t) => {
    const host = await hosted(t, { answer: only("/a/page", sent({})("/")) });
    host.answer("/a/page", (request, response) => {
      response.setHeader("content-type", "text/html");
      sent({ types: { ".html": "text/html" } })("/")(request, response);
    });
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/a/page`);
    const shown = await errorShown(page, "#not-started");
    assert.equal(shown.code, "not_started");
    assert.match(shown.text, /an address that ends in a slash/);
    passed++;
  });

  after(() => {
    if (passed === 8) record({ section: "hosts", what: "scripts with a wrong type, missing or broken", tried: "8 ways", outcome: "a notice names the file, what was received, and what to change" });
  });
});

test("a view whose scripts are missing says so, and opens when they are there", async (t) => {
  const host = await hosted(t);
  host.answer("/page/search/query.js", status(404));
  const { page } = await newPage(t, browser);
  await page.goto(`${host.origin}/`);
  await page.locator("#comparison td").first().waitFor();
  await page.locator("a", { hasText: "Search pictures" }).click();
  const shown = await errorShown(page, "#view-error .error");
  assert.equal(shown.code, "view_failed");
  assert.match(shown.text, /cannot be opened/);
  assert.equal(await page.locator(".view").filter({ visible: true }).count(), 0);
  await page.locator("a", { hasText: "Embed and compare" }).click();
  await page.locator("#view-embed").waitFor();
  assert.equal(await page.locator("#view-error .error").count(), 0);
});
