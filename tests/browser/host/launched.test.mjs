// What other apps open the installed page with: shared pictures and texts, and opened files. The page takes each once.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { SHARING } from "../../../www/page/shell/sharing.js";
import { PHOTOS, REPOSITORY, Site } from "../support/browser.mjs";
import { folderWithPage, startPython } from "../support/hosts.mjs";

/** @import { Page } from "playwright-core" */
/** @import { TestContext } from "node:test" */

/**
 * What the page was given: of files the names, types and hashes.
 * @typedef {{ files: { name: string, type: string, sha256: string }[], texts: string[] }} Given
 * @typedef {{ given: Given[], failed: string[], address: string }} Taken
 */

const MANIFEST = JSON.parse(readFileSync(join(REPOSITORY, "www/manifest.webmanifest"), "utf8"));
const EMPTY = "<!doctype html><title>Empty</title><link rel=icon href=data:,>";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/**
 * A page that the service worker controls, and which is empty at every address.
 * @param {TestContext} t
 * @returns {Promise<Page>}
 */
async function controlled(t) {
  const page = await site.emptyPage(t);
  for (const path of ["/", "/empty.html"]) {
    site.own.answer(path, (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end(EMPTY));
  }
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("/sw.js");
    await navigator.serviceWorker.ready;
  });
  await page.reload();
  assert.ok(await page.evaluate(() => navigator.serviceWorker.controller !== null));
  return page;
}

/**
 * Sends a form as a browser sends what is shared, and follows the redirect.
 * @param {Page} page
 * @param {{ files?: { name: string, type: string, base64: string }[], fields?: Record<string, string> }} shared
 * @returns {Promise<string>} the address that the browser is led to
 */
async function share(page, { files = [], fields = {} }) {
  const arrived = page.waitForURL((url) => url.pathname !== "/empty.html" && url.search !== "");
  await page.evaluate(
    ({ files, fields, sharing }) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", enctype: "multipart/form-data", acceptCharset: "utf-8", action: `/${sharing.path}` });
      const input = Object.assign(document.createElement("input"), { type: "file", name: sharing.files, multiple: true });
      const transfer = new DataTransfer();
      for (const { name, type, base64 } of files) {
        transfer.items.add(new File([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], name, { type }));
      }
      input.files = transfer.files;
      form.append(input);
      for (const [name, value] of Object.entries(fields)) {
        const field = Object.assign(document.createElement("textarea"), { name, value });
        form.append(field);
      }
      document.body.append(form);
      form.submit();
    },
    { files, fields, sharing: SHARING },
  );
  await arrived;
  return page.url();
}

/**
 * What the page takes at its address.
 * @param {Page} page
 * @returns {Promise<Taken>}
 */
function take(page) {
  return page.evaluate(async () => {
    const { takeLaunched } = await import("/page/shell/launched.js");
    /** @type {Promise<Given>[]} */
    const given = [];
    /** @type {string[]} */
    const failed = [];
    const hash = async (/** @type {File} */ file) => {
      const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
      return { name: file.name, type: file.type, sha256: [...new Uint8Array(digest)].join(" ") };
    };
    await takeLaunched(
      ({ files, texts }) => void given.push(Promise.all(files.map(hash)).then((files) => ({ files, texts }))),
      ({ code, message }) => void failed.push(`${code}: ${message}`),
    );
    return { given: await Promise.all(given), failed, address: location.href };
  });
}

const photo = (/** @type {string} */ file, name = file, type = "image/jpeg") => ({ name, type, base64: readFileSync(join(PHOTOS, file), "base64") });

/** @param {ReturnType<typeof photo>[]} photos */
async function hashed(photos) {
  return Promise.all(
    photos.map(async ({ name, type, base64 }) => {
      const digest = await crypto.subtle.digest("SHA-256", Buffer.from(base64, "base64"));
      return { name, type, sha256: [...new Uint8Array(digest)].join(" ") };
    }),
  );
}

const codes = (/** @type {Taken} */ { failed }) => failed.map((text) => text.split(":")[0]);
const cachesOf = (/** @type {Page} */ page) => page.evaluate((start) => caches.keys().then((names) => names.filter((name) => name.startsWith(start)).length), SHARING.cache);

describe("sharing", () => {
  test("the manifest sends to sw.js what it expects", () => {
    const { action, method, enctype, params } = MANIFEST.share_target;
    assert.deepEqual([action, method, enctype], [SHARING.path, "POST", "multipart/form-data"]);
    assert.deepEqual(params.files.map((/** @type {any} */ { name }) => name), [SHARING.files]);
    assert.deepEqual(SHARING.texts.map((field) => params[field]), SHARING.texts);
    for (const path of [action, MANIFEST.file_handlers[0].action]) {
      const url = new URL(path, "https://example.org/some/folder/manifest.webmanifest");
      assert.ok(url.href.startsWith(new URL(MANIFEST.scope, "https://example.org/some/folder/").href), `${path} is in the scope under any path`);
    }
  });

  test("several pictures, with their names and bytes, once; the address forgets them", async (t) => {
    const page = await controlled(t);
    const photos = [photo("rocket.jpg"), photo("horse.png", "Pferd, 100 % “ß”.png", "image/png")];
    const address = await share(page, { files: photos, fields: { title: "Shared from an app", text: "" } });
    const taken = await take(page);
    assert.deepEqual(taken, { given: [{ files: await hashed(photos), texts: [] }], failed: [], address: `${site.own.origin}/` });
    assert.equal(await cachesOf(page), 0);
    assert.equal(site.own.requests.includes(`/${SHARING.path}`), false, "nothing is sent to the host");

    await page.reload();
    assert.deepEqual(await take(page), { given: [], failed: [], address: `${site.own.origin}/` });
    await page.goto(address);
    const again = await take(page);
    assert.deepEqual([again.given, codes(again)], [[], ["share_taken"]]);
  });

  test("below a path of a host that answers no POST", async (t) => {
    const { page } = await site.newPageWithServiceWorker(t);
    const host = await startPython(folderWithPage(t, "/a/b"));
    t.after(host.stop);
    await page.goto(`${host.origin}/a/b/`);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    const { href } = new URL(`/a/b/?${SHARING.id}=`, host.origin);
    const led = await page.evaluate(async ({ path, files }) => {
      const form = new FormData();
      form.append(files, new Blob(["some bytes"]), "cat.png");
      const { url, status } = await fetch(path, { method: "POST", body: form });
      return { url, status };
    }, SHARING);
    assert.equal(led.status, 200);
    assert.ok(led.url.startsWith(href), led.url);
  });

  test("two tabs at one address: one of them takes it", async (t) => {
    const page = await controlled(t);
    const address = await share(page, { files: [photo("rocket.jpg")] });
    const other = await page.context().newPage();
    await other.goto(address);
    const both = await Promise.all([take(page), take(other)]);
    assert.equal(both.flatMap(({ given }) => given).length, 1);
    assert.deepEqual(both.flatMap(codes), ["share_taken"]);
  });

  for (const [fields, texts] of /** @type {[Record<string, string>, string[]][]} */ ([
    [{ title: "A title", text: " a dog\non a beach " }, ["a dog\non a beach"]],
    [{ title: "A title" }, ["A title"]],
  ])) {
    test(`a text alone: ${JSON.stringify(fields)}`, async (t) => {
      const page = await controlled(t);
      await share(page, { fields });
      const { given, failed } = await take(page);
      assert.deepEqual([given.map(({ files, texts }) => [files, texts.map((text) => text.replaceAll("\r\n", "\n"))]), failed], [[[[], texts]], []]);
    });
  }

  test("nothing that can be embedded: nothing_shared", async (t) => {
    const page = await controlled(t);
    await share(page, { files: [{ name: "empty.jpg", type: "image/jpeg", base64: "" }], fields: { title: " " } });
    const taken = await take(page);
    assert.deepEqual([taken.given, codes(taken), taken.address], [[], ["nothing_shared"], `${site.own.origin}/`]);
    assert.equal(await cachesOf(page), 0);
  });

  test("more than the browser stores: share_not_kept, and nothing is left", async (t) => {
    const page = await controlled(t);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: site.own.origin, quotaSize: 10_000 });
    await share(page, { files: [photo("rocket.jpg")] });
    assert.deepEqual(codes(await take(page)), ["share_not_kept"]);
    assert.equal(await cachesOf(page), 0);
  });

  test("a body that is no form, and a code that nobody gives: share_failed", async (t) => {
    const page = await controlled(t);
    const address = await page.evaluate(async (path) => (await fetch(`/${path}`, { method: "POST", body: "no form" })).url, SHARING.path);
    assert.equal(new URL(address).searchParams.get(SHARING.failure), "share_failed");
    for (const url of [address, `${site.own.origin}/?${SHARING.failure}=constructor#/search`]) {
      await page.goto(url);
      const taken = await take(page);
      assert.deepEqual(codes(taken), ["share_failed"]);
      assert.equal(taken.address, new URL(new URL(url).hash, `${site.own.origin}/`).href);
    }
  });

  test("what no page has taken within an hour is deleted at the next share", async (t) => {
    const page = await controlled(t);
    await page.evaluate((start) => Promise.all([Date.now() - 3_700_000, Date.now() - 60_000].map((time) => caches.open(`${start}${time}-id`))), SHARING.cache);
    await share(page, { fields: { text: "a dog" } });
    assert.equal(await cachesOf(page), 2);
  });
});

describe("opening files", () => {
  /**
   * Takes what the launch queue hands over, as a browser with an installed page does.
   * @param {Page} page
   * @param {boolean} isThere whether the file can still be read
   */
  function open(page, isThere) {
    return page.evaluate(async (isThere) => {
      const folder = await navigator.storage.getDirectory();
      const handle = await folder.getFileHandle("cat.png", { create: true });
      const stream = await handle.createWritable();
      await stream.write("cat");
      await stream.close();
      if (!isThere) await folder.removeEntry("cat.png");
      const { takeLaunched } = await import("/page/shell/launched.js");
      return new Promise((resolve) => {
        const setConsumer = (/** @type {Function} */ consumer) => {
          consumer({ files: [] });
          consumer({ files: [handle] });
        };
        Object.defineProperty(window, "launchQueue", { value: { setConsumer } });
        takeLaunched(
          async ({ files: [file], texts }) => resolve([file?.name, await file?.text(), texts]),
          ({ code }) => resolve(code),
        );
      });
    }, isThere);
  }

  test("gives their bytes", async (t) => {
    const page = await site.emptyPage(t);
    assert.deepEqual(await open(page, true), ["cat.png", "cat", []]);
  });

  test("a file that is gone: io", async (t) => {
    const page = await site.emptyPage(t);
    assert.equal(await open(page, false), "io");
  });
});

describe("the page itself", () => {
  test("embeds what is shared with it, pictures and texts", async (t) => {
    const clip = await site.newPageWithServiceWorker(t);
    await clip.page.evaluate(() => navigator.serviceWorker.ready);
    await clip.page.reload();
    await clip.page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await clip.page.goto(`${site.own.origin}/#/search`);
    // The page's own policy forbids forms; what is shared is sent by the browser. A plain page stands for it.
    const sender = await clip.page.context().newPage();
    site.own.answer("/empty.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end(EMPTY));
    await sender.goto(`${site.own.origin}/empty.html`);
    await share(sender, { files: [photo("rocket.jpg", "from the phone.jpg")] });
    const name = sender.locator("#thumbnails .name");
    await name.filter({ hasText: "from the phone.jpg" }).waitFor();
    await sender.locator("#legend .name").filter({ hasText: "from the phone.jpg" }).waitFor();
    assert.equal(new URL(sender.url()).search, "");
    await sender.reload();
    await sender.locator("#model-state").waitFor();
    assert.equal(await name.count(), 0, "it is taken once");
    await sender.goto(`${site.own.origin}/empty.html`);
    await share(sender, { fields: { text: "a red circle" } });
    await sender.locator("#legend .name").filter({ hasText: "“a red circle”" }).waitFor();
    await sender.goto(`${site.own.origin}/empty.html`);
    await share(sender, {});
    await sender.locator("#launch-error").filter({ hasText: "nothing_shared" }).waitFor();
  });
});
