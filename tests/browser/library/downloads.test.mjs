// Downloads of weights from servers that misbehave: resumed, restarted, refused, and verified.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { record } from "../../reliability/record.mjs";
import { TINY_MODEL } from "../support/browser.mjs";
import { apiPage, beginLoad, deleteKept, kept, load, openApi, random } from "../support/loads.mjs";
import { gzipped, status, truncatedFile, webPage, withoutLength } from "../support/server.mjs";
import { waitUntil } from "../support/waiting.mjs";
import { MODEL, openWeights, OTHER_MODEL } from "../support/weights.mjs";

const { site, size, sha256, right, otherRight, serve, assertRight, assertKept } = await openWeights();
after(() => site.close());

describe("a download resumes where it stopped", () => {
  test("after twenty cuts at random bytes", async (t) => {
    const page = await apiPage(site, t);
    const next = random(7);
    let cuts = 0;
    const url = serve({ cutAfter: (from) => (cuts++ < 20 ? 1 + Math.floor((next() * 2 * (size - from)) / (22 - cuts)) : Infinity) });
    const outcome = await load(page, url);
    assertRight(outcome);
    assert.equal(cuts, 21);
    assert.equal(site.hub.ranges.length, 21);
    // Bytes in flight when a connection broke are lost; bytes that had arrived are not requested again.
    const starts = site.hub.ranges.map((range) => Number(range.split("-")[0]));
    assert.ok(starts.every((start, i) => i === 0 || start >= Number(starts[i - 1])), String(starts));
    const loaded = outcome.progress.map(({ loaded }) => loaded);
    assert.ok(loaded.every((bytes, i) => i === 0 || bytes >= Number(loaded[i - 1])), "progress went back");
    assert.equal(new Set(outcome.progress.map(({ total }) => total)).size, 1, "the total changed");
    await assertKept(page, url);
    record({ section: "faults", what: "a connection that is cut", tried: "twenty times at random bytes of one download", outcome: "resumes each time; the model is right, and kept" });
  });

  test("on the page's own origin, where If-Range is sent", async (t) => {
    const page = await apiPage(site, t);
    let cuts = 0;
    const url = site.own.parts(MODEL, TINY_MODEL, { cutAfter: () => (cuts++ < 3 ? 1_000_000 : Infinity) });
    assertRight(await load(page, url));
    assert.deepEqual(site.own.conditions, [undefined, '"one"', '"one"', '"one"']);
  });

  test("after a while without data", async (t) => {
    const page = await apiPage(site, t);
    let answers = 0;
    const url = serve({ silentAfter: () => (answers++ < 2 ? 1_000_000 : Infinity) });
    assertRight(await load(page, url, { idleTimeout: 300 }));
    assert.equal(answers, 3);
    record({ section: "faults", what: "a server that falls silent", tried: "twice in one download", outcome: "continued by a new request after the idle timeout" });
  });

  test("after the server stopped for good: an error after a while, and the received bytes stay stored", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ silentAfter: (from) => (from === 0 ? 2_000_000 : 0) });
    const { code, message } = await load(page, url, { idleTimeout: 200 });
    assert.equal(code, "network");
    assert.match(message, new RegExp(`no data from .+ for 0\\.2 s, after 2000000 of ${size} bytes; try again`));
    assert.equal((await kept(page))[0]?.keptSize, 2_000_000);
    serve();
    assertRight(await load(page, url));
    assert.equal(site.hub.ranges.at(-1), `2000000-${size - 1}`);
    record({ section: "faults", what: "a server that stays silent", tried: "after 2 of 4.6 MB", outcome: "an error (network); the next load resumes from what was kept" });
  });

  test("from the start, if the server does not support range requests", async (t) => {
    const page = await apiPage(site, t);
    const bytes = readFileSync(TINY_MODEL);
    let answers = 0;
    const url = site.hub.answer(MODEL, (_request, response) => {
      response.writeHead(200, { "content-length": size });
      if (answers++ < 2) response.write(bytes.subarray(0, 3_000_000), () => setTimeout(() => response.destroy(), 50));
      else response.end(bytes);
    });
    assertRight(await load(page, url));
    await assertKept(page, url);
    record({ section: "faults", what: "a connection that is cut, to a server without byte ranges", tried: "twice in one download", outcome: "starts again from the beginning" });
  });

  test("from the start, if the server sends other ranges than requested", async (t) => {
    const page = await apiPage(site, t);
    let cuts = 0;
    const url = serve({ shift: 100, cutAfter: () => (cuts++ === 0 ? 2_000_000 : Infinity) });
    assertRight(await load(page, url));
    assert.equal(site.hub.ranges.at(-1), "");
    await assertKept(page, url);
    record({ section: "faults", what: "a server that sends another part than was requested", tried: "shifted by 100 bytes", outcome: "noticed; starts again from the beginning" });
  });

  test("after the page was reloaded, or its tab closed, halfway", async (t) => {
    const page = await apiPage(site, t);
    // A worker may outlive its page for seconds. The response stops here, so that it cannot finish meanwhile.
    const url = serve({ silentAfter: () => 1_500_000 });
    const starts = [];
    for (const end of ["reload", "close"]) {
      const tab = end === "close" ? await page.context().newPage() : page;
      if (end === "close") await tab.goto(`${site.own.origin}/empty.html`);
      await openApi(tab);
      const { length } = site.hub.ranges;
      const before = (await kept(tab))[0]?.keptSize ?? 0;
      await beginLoad(tab, url);
      await waitUntil(`a request before the ${end}`, () => site.hub.ranges.length > length);
      starts.push(Number(site.hub.ranges.at(-1)?.split("-")[0]));
      await waitUntil("the received bytes are stored", async () => (await kept(tab))[0]?.keptSize === before + 1_500_000);
      if (end === "close") await tab.close();
      else await tab.reload();
    }
    serve();
    await openApi(page);
    assertRight(await load(page, url));
    starts.push(Number(site.hub.ranges.at(-1)?.split("-")[0]));
    assert.deepEqual(starts, [0, 1_500_000, 3_000_000]);
    assert.equal(site.hub.sent, size);
    record({ section: "faults", what: "a page that is reloaded, or whose tab is closed, during a download", tried: "once each", outcome: "the next load resumes from what was kept" });
  });

  test("after aborts at ten random moments, each of which takes effect within 100 ms", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ bytesPerSecond: 3_000_000 });
    const next = random(3);
    for (let i = 0; i < 10; i++) {
      const before = site.hub.cutOff.length;
      const { name, milliseconds } = await page.evaluate(
        async ({ url, moment }) => {
          const abort = new AbortController();
          const loading = window.ClipEncoder.load(url, { signal: abort.signal }).then(
            () => "loaded",
            ({ name }) => name,
          );
          await new Promise((resolve) => setTimeout(resolve, moment));
          const start = performance.now();
          abort.abort();
          return { name: await loading, milliseconds: performance.now() - start };
        },
        { url, moment: Math.floor(next() * 300) },
      );
      assert.ok(name === "AbortError" || name === "loaded", name);
      assert.ok(milliseconds < 100, `${milliseconds} ms`);
      const sent = site.hub.sent;
      await pause(150);
      assert.ok(site.hub.sent - sent < 1_500_000, `${site.hub.sent - sent} bytes came after abort ${i}, ${before}`);
    }
    assertRight(await load(page, url));
    assert.ok(site.hub.sent < 2 * size, `${site.hub.sent} bytes for ${size}`);
    await assertKept(page, url);
    record({ section: "faults", what: "a load that is aborted", tried: "at ten random moments", outcome: "aborted within 100 ms; the next load resumes" });
  });

  test("and an abort of a further tower leaves the encoder working", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ bytesPerSecond: 2_000_000 });
    const outcome = await page.evaluate(async (url) => {
      const clip = await window.ClipEncoder.load(url, { towers: ["text"] });
      const abort = new AbortController();
      const loading = clip.loadTowers(["vision"], { signal: abort.signal }).catch(({ code }) => code);
      await new Promise((resolve) => setTimeout(resolve, 20));
      abort.abort();
      const code = await loading;
      const text = (await clip.embedText(["a dog"])).data[0];
      await clip.loadTowers(["vision"]);
      return { code, text, image: (await clip.embedImage([window.cat])).data[0] };
    }, url);
    assert.deepEqual(outcome, { code: "aborted", ...right });
  });
});

describe("a file that changes on its server is loaded again", () => {
  test("recognised by its ETag", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ silentAfter: (from) => (from === 0 ? 2_000_000 : 0) });
    assert.equal((await load(page, url, { idleTimeout: 100 })).code, "network");
    site.hub.parts(MODEL, OTHER_MODEL, { etag: '"two"' });
    assertRight(await load(page, url), otherRight);
    await assertKept(page, url, otherRight);
    record({ section: "faults", what: "a file that changes on its server between two loads", tried: "noticed by its ETag", outcome: "downloaded again" });
  });

  test("recognised by its size, without an ETag", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ etag: null, silentAfter: (from) => (from === 0 ? 3_000_000 : 0) });
    assert.equal((await load(page, url, { idleTimeout: 100 })).code, "network");
    site.hub.parts(MODEL, OTHER_MODEL, { etag: null });
    assertRight(await load(page, url), otherRight);
    await assertKept(page, url, otherRight);
    record({ section: "faults", what: "a file that changes on its server, without an ETag", tried: "noticed by its size", outcome: "downloaded again" });
  });

  test("within one download", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.answer(MODEL, (_request, response) => {
      site.hub.parts(MODEL, OTHER_MODEL, { etag: '"two"' });
      response.writeHead(200, { etag: '"one"', "content-length": size });
      response.write(readFileSync(TINY_MODEL).subarray(0, 2_000_000), () => setTimeout(() => response.destroy(), 50));
    });
    assertRight(await load(page, url), otherRight);
    record({ section: "faults", what: "a file that changes on its server within one download", tried: "once", outcome: "downloaded again" });
  });
});

describe("a response that is not the file", () => {
  for (const code of [404, 403]) {
    test(`${code} is reported at once`, async (t) => {
      const page = await apiPage(site, t);
      const outcome = await load(page, site.hub.answer(MODEL, status(code)));
      assert.deepEqual([outcome.code, site.hub.requests.length], ["http_status", 1]);
      assert.deepEqual(await kept(page), []);
      record({ section: "faults", what: `an answer of ${code}`, tried: "for a model", outcome: "an error at once (http_status); nothing is kept" });
    });
  }

  test("500 is retried, and reported if it persists", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.answer(MODEL, status(500));
    assert.equal((await load(page, url)).code, "http_status");
    assert.equal(site.hub.requests.length, 3);
    let answers = 0;
    site.hub.answer(MODEL, (request, response) => {
      if (++answers === 2) serve();
      status(503)(request, response);
    });
    assertRight(await load(page, url));
    record({ section: "faults", what: "an answer of 500 or 503", tried: "permanent, and temporary", outcome: "retried; an error if it is permanent" });
  });

  test("makes a mirror continue where the first URL failed", async (t) => {
    const page = await apiPage(site, t);
    const mirror = site.hub.parts("/mirror.gguf", TINY_MODEL, { etag: '"mirror"' });
    assertRight(await load(page, site.hub.answer(MODEL, status(404)), { mirrors: ["/nothing.gguf", mirror] }));
    const url = site.hub.answer("/half.gguf", (_request, response) => {
      site.hub.answer("/half.gguf", status(410));
      response.writeHead(200, { etag: '"one"', "content-length": size });
      response.write(readFileSync(TINY_MODEL).subarray(0, 2_000_000), () => setTimeout(() => response.destroy(), 50));
    });
    assertRight(await load(page, url, { mirrors: [mirror] }));
    assert.match(String(site.hub.ranges.at(-1)), /^[1-9]\d*-/);
    record({ section: "faults", what: "an address that fails", tried: "404 at the start, and 410 halfway", outcome: "a mirror continues where it failed" });
  });

  for (const [name, answer, code] of /** @type {const} */ ([
    ["a web page with status 200", webPage("text/html"), "not_a_model"],
    ["a web page sent as application/octet-stream", webPage("application/octet-stream"), "not_a_model"],
    ["a file that is truncated on its server", truncatedFile(TINY_MODEL, 3_000_000), "truncated_model"],
  ])) {
    test(`${name} is not stored`, async (t) => {
      const page = await apiPage(site, t);
      const url = site.hub.answer(MODEL, answer);
      assert.equal((await load(page, url)).code, code);
      assert.deepEqual(await kept(page), []);
      serve();
      assertRight(await load(page, url));
      record({ section: "faults", what: name, tried: "for a model", outcome: `an error (${code}); nothing is kept, and the next load works` });
    });
  }

  test("a web page instead of the rest does not lose the received bytes", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.answer(MODEL, (_request, response) => {
      let pages = 0;
      site.hub.answer(MODEL, (request, response) => {
        if (++pages === 2) serve();
        webPage("text/html")(request, response);
      });
      response.writeHead(200, { etag: '"one"', "content-length": size });
      response.write(readFileSync(TINY_MODEL).subarray(0, 2_000_000), () => setTimeout(() => response.destroy(), 50));
    });
    assertRight(await load(page, url));
    assert.match(String(site.hub.ranges.at(-1)), /^[1-9]\d*-/);
    record({ section: "faults", what: "a web page instead of the rest of a file", tried: "twice in one download", outcome: "nothing that has arrived is lost" });
  });

  test("a length that is too large, missing, or that of a compressed body does no harm", async (t) => {
    const page = await apiPage(site, t);
    const bytes = readFileSync(TINY_MODEL);
    for (const answer of [
      (/** @type {any} */ _request, /** @type {any} */ response) => void response.writeHead(200, { "content-length": size + 1000 }).write(bytes),
      withoutLength(TINY_MODEL),
      gzipped(TINY_MODEL),
    ]) {
      const url = site.hub.answer(MODEL, answer);
      assertRight(await load(page, url));
      await assertKept(page, url);
      await deleteKept(page, url);
    }
    record({ section: "faults", what: "a Content-Length that is wrong", tried: "too large, missing, or of a compressed body", outcome: "the model is right, and kept" });
  });

  test("a Content-Length that is too small means a truncated file", async (t) => {
    const page = await apiPage(site, t);
    const url = site.hub.answer(MODEL, (_request, response) => {
      response.writeHead(200, { "content-length": size - 100_000 }).end(readFileSync(TINY_MODEL).subarray(0, size - 100_000));
    });
    assert.equal((await load(page, url)).code, "truncated_model");
    assert.deepEqual(await kept(page), []);
    record({ section: "faults", what: "a Content-Length that is too small", tried: "by 100,000 bytes", outcome: "an error (truncated_model); nothing is kept" });
  });
});

describe("a file is verified", () => {
  const flip = (/** @type {number} */ place) => (/** @type {Buffer} */ bytes) => {
    bytes.writeUInt8(bytes.readUInt8(place) ^ 1, place);
    return bytes;
  };

  test("by its SHA-256, once", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    assertRight(await load(page, url, { sha256 }));
    assert.deepEqual(await kept(page), [{ url, size, keptSize: size, towers: [], whole: true, verified: true }]);
    site.hub.answer(MODEL, status(404));
    assertRight(await load(page, url, { sha256 }));
  });

  test("also if part of it was stored before the connection broke", async (t) => {
    const page = await apiPage(site, t);
    let cuts = 0;
    const url = serve({ cutAfter: () => (cuts++ < 3 ? 1_000_000 : Infinity) });
    assertRight(await load(page, url, { sha256 }));
    assert.equal((await kept(page))[0]?.verified, true);
  });

  test("also if its towers are loaded one after the other", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    const { text } = await load(page, url, { sha256, towers: ["text"] });
    assert.deepEqual(text, right.text);
    const { image } = await load(page, url, { sha256, towers: ["vision"] });
    assert.deepEqual(image, right.image);
    assert.equal((await kept(page))[0]?.verified, true);
  });

  test("also if one tower is loaded first and nothing is stored, while it is read once", async (t) => {
    const page = await apiPage(site, t);
    assertRight(await load(page, serve(), { sha256, first: "text", keep: false }));
    assert.deepEqual(site.hub.ranges, [""]);
    serve({ change: flip(3_000_001) });
    assert.equal((await load(page, site.hub.origin + MODEL, { sha256, first: "text", keep: false })).code, "corrupt_model");
  });

  test("a flipped bit is found, and nothing is stored", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ change: flip(3_000_001) });
    const { code, message } = await load(page, url, { sha256 });
    assert.equal(code, "corrupt_model");
    assert.match(message, /is damaged: its SHA-256 is [0-9a-f]{64} where [0-9a-f]{64} is expected/);
    assert.deepEqual(await kept(page), []);
    serve();
    assertRight(await load(page, url, { sha256 }));
    record({ section: "faults", what: "a flipped bit in a tensor", tried: "with the SHA-256 given", outcome: "an error (corrupt_model); nothing is kept" });
  });

  test("a flipped bit in the header is found without a SHA-256", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ change: flip(20) });
    assert.match(String((await load(page, url)).code), /^(malformed|unsupported)_model$/);
    assert.deepEqual(await kept(page), []);
    record({ section: "faults", what: "a flipped bit in the header", tried: "without a SHA-256", outcome: "an error; nothing is kept" });
  });

  test("a stored file is replaced if the SHA-256 for its URL has changed", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    assertRight(await load(page, url, { sha256 }));
    site.hub.parts(MODEL, OTHER_MODEL, { etag: '"two"' });
    const other = createHash("sha256").update(readFileSync(OTHER_MODEL)).digest("hex");
    assertRight(await load(page, url, { sha256: other }), otherRight);
  });
});
