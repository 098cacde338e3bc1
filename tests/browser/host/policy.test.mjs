// The page with the policies that a host may send: isolation, and the host's own Content-Security-Policy.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { REPOSITORY } from "../support/browser.mjs";
import { cosines, errorShown, hosted, launch, newPage, visits, wantedCosines, WWW } from "../support/hosts.mjs";
import { StaticServer } from "../support/server.mjs";

/** @import { Browser } from "playwright-core" */

/** The strictest policy with which the page works; docs/hosting.md has it too. */
const STRICT = /Content-Security-Policy "([^"]+)"/.exec(readFileSync(join(REPOSITORY, "docs/hosting.md"), "utf8"))?.[1] ?? "";

/** @type {Browser} */
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

describe("isolation", () => {
  const opener = "cross-origin-opener-policy";
  const embedder = "cross-origin-embedder-policy";
  /** @type {[string, Record<string, string>, boolean[]][]} */
  const cases = [
    ["both headers", { [opener]: "same-origin", [embedder]: "require-corp" }, [true, true]],
    ["credentialless", { [opener]: "same-origin", [embedder]: "credentialless" }, [true, true]],
    ["the opener's alone", { [opener]: "same-origin-allow-popups" }, [false, true]],
  ];
  let passed = 0;
  for (const [name, headers, want] of cases) {
    test(`${name}: on the first visit ${want[0] ? "already" : "not yet"}`, async (t) => {
      const host = await hosted(t, { headers });
      assert.deepEqual(await visits(t, browser, `${host.origin}/`), want);
      const threads = host.requests.some((path) => path.includes("-threads/"));
      assert.ok(threads, "the build with threads was asked for");
      passed++;
    });
  }

  test("a host's credentialless is not changed", async (t) => {
    const host = await hosted(t, { headers: { [opener]: "same-origin", [embedder]: "credentialless" } });
    const { page } = await newPage(t, browser);
    host.answer("/plain.html", (_request, response) => void response.setHeader("content-type", "text/html").end("<p>A page in the scope of sw.js."));
    await page.goto(`${host.origin}/plain.html`);
    await page.evaluate(async () => {
      await navigator.serviceWorker.register("/sw.js");
      await navigator.serviceWorker.ready;
    });
    const response = await page.reload();
    assert.equal(response?.fromServiceWorker(), true);
    assert.equal(await response?.headerValue(embedder), "credentialless");
    if (passed === cases.length) record({ section: "hosts", what: "isolation headers of the host: none, both, credentialless, one of two", tried: "first visit, second visit", outcome: "the same cosines; threads at the first visit if the host isolates the page, otherwise at the second" });
  });
});

describe("a Content-Security-Policy of the host", () => {
  const policy = (/** @type {string} */ text) => ({ "content-security-policy": text });
  /**
   * @param {string} directive
   * @param {string} value
   */
  const strictBut = (directive, value) => {
    const changed = STRICT.replace(new RegExp(`${directive} [^;]+`), `${directive} ${value}`);
    assert.notEqual(changed, STRICT);
    return policy(changed);
  };

  test("the strictest: everything works", async (t) => {
    assert.match(STRICT, /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
    const host = await new StaticServer(WWW, policy(STRICT)).start();
    assert.deepEqual(await visits(t, browser, `${host.origin}/`, host), [false, true, true]);
    record({ section: "hosts", what: "the Content-Security-Policy of docs/hosting.md", tried: "first visit, second visit, offline", outcome: "the same cosines, no violation; threads from the second visit on" });
  });

  let passed = 0;
  for (const [name, headers, code, says] of /** @type {[string, () => Record<string, string>, string, RegExp][]} */ ([
    ["WebAssembly", () => strictBut("script-src", "'self'"), "no_wasm", /WebAssembly, which cannot run here.*'wasm-unsafe-eval' allows it/],
    ["workers", () => strictBut("worker-src", "'none'"), "worker_failed", /does not start.*worker-src 'self' allows it/],
    ["requests", () => strictBut("connect-src", "'none'"), "network", /no answer from .*models\.json.*Content-Security-Policy forbids it \(connect-src\)/],
    ["values without a trusted type", () => policy(`${STRICT}; require-trusted-types-for 'script'`), "worker_failed", /cannot start a worker.*TrustedScriptURL/],
  ])) {
    test(`that forbids ${name}: the page says so, ${code}`, async (t) => {
      const host = await hosted(t, { headers: headers() });
      const { page } = await newPage(t, browser);
      await page.goto(`${host.origin}/`);
      const shown = await errorShown(page);
      assert.equal(shown.code, code);
      assert.match(shown.text, says);
      passed++;
    });
  }

  test("that forbids scripts: the page says that it has not started", async (t) => {
    const host = await hosted(t, { headers: strictBut("script-src", "'none'") });
    const { page } = await newPage(t, browser);
    await page.emulateMedia({ reducedMotion: "reduce" }); // the notice must appear even without motion
    const start = Date.now();
    await page.goto(`${host.origin}/`);
    const notice = page.locator("#not-started");
    assert.equal(await notice.isVisible(), false);
    await notice.waitFor();
    assert.ok(Date.now() - start > 6000, `after ${Date.now() - start} ms, while scripts may still come`);
    assert.match(String(await notice.textContent()), /has not started.*not_started$/);
    passed++;
  });

  test("that forbids styles: it embeds", async (t) => {
    const host = await hosted(t, { headers: strictBut("style-src", "'none'") });
    const want = await wantedCosines(t, browser);
    const { page } = await newPage(t, browser);
    await page.goto(`${host.origin}/`);
    assert.deepEqual(await cosines(page), want);
    assert.equal(await page.locator("#not-started").count(), 0);
    if (passed === 5) record({ section: "hosts", what: "a Content-Security-Policy that forbids what the page needs", tried: "no scripts, WebAssembly, workers, requests, untrusted types, styles", outcome: "an error that names the directive; without scripts, a notice; without styles, it works" });
  });
});

describe("the library's files on another origin", () => {
  const cors = { "access-control-allow-origin": "*" };
  /** @type {[what: string, headers: Record<string, string>, worker: (origin: string) => string, folder: string, error: ((origin: string) => string) | null][]} */
  const cases = [
    ["with what its error asks for", cors, (origin) => `blob: ${origin}`, "/", null],
    ["without CORS headers", {}, (origin) => `blob: ${origin}`, "/", (origin) => `${origin}/pkg/workers/model-worker.js is missing`],
    ["that are missing", cors, (origin) => `blob: ${origin}`, "/no/", (origin) => `${origin}/no/pkg/workers/model-worker.js is missing`],
    ["under a policy without blob:", cors, () => "'self'", "/", (origin) => `(worker-src blob: ${origin} and script-src ${origin} allow it)`],
    ["under a policy without the origin", cors, () => "blob:", "/", (origin) => `(worker-src blob: ${origin} and script-src ${origin} allow it)`],
  ];
  for (const [what, headers, worker, folder, error] of cases) {
    test(`${what}: ${error ? "the error says what is needed" : "it works"}`, async (t) => {
      const other = await new StaticServer(WWW, headers).start();
      t.after(() => other.stop());
      const text = STRICT.replace("worker-src 'self'", `worker-src ${worker(other.origin)}`).replace(/(script|connect)-src 'self'/g, `$& ${other.origin}`);
      const own = await hosted(t, { headers: { "content-security-policy": text } });
      const { page } = await newPage(t, browser);
      await page.goto(own.answer("/empty.html", (_request, response) => void response.setHeader("content-type", "text/html").end("<p>A page of its own.")));
      const told = await page.evaluate(async (libraryUrl) => {
        const { ClipEncoder } = await import("/clip.js");
        return ClipEncoder.load("/models/demo.gguf", { libraryUrl, keep: false }).then(
          (clip) => clip.embedText(["a cat"]).then(({ data }) => data.length),
          ({ code, message }) => `${code}: ${message}`,
        );
      }, `${other.origin}${folder}`);
      if (error === null) assert.equal(told, 1);
      else assert.ok(String(told).startsWith("worker_failed: ") && String(told).includes(error(other.origin)), String(told));
    });
  }
});
