// Checkpoints as the Hub has them, converted in the browser to the same bytes that `clip-wasm convert` writes.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { FIXTURES, REPOSITORY, shownCode, Site, TEST_DATA, TINY_MODEL } from "../support/browser.mjs";
import { abortLoad, apiPage, assertVectors, beginLoad, deleteKept, kept, keptFile, load, openApi, random, removeFileSystem, script, vectorsOf } from "../support/loads.mjs";
import { status } from "../support/server.mjs";
import { torchCheckpoint } from "../support/torch.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** @import { Progress } from "../../../www/clip.js" */
/** @import { Vectors } from "../support/loads.mjs" */
/** @import { PartFaults } from "../support/server.mjs" */

const WEIGHTS = "/tiny-hf/model.safetensors";
const SOURCE = join(TEST_DATA, WEIGHTS);

/** @type {Site} */
let site;
/** @type {Vectors} of the model that the native command line converts */
let right;
/** @type {string} */
let folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "clip-wasm-"));
  site = await Site.open();
  right = await vectorsOf(site, () => `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
});
after(async () => {
  rmSync(folder, { recursive: true });
  await site.close();
});

/**
 * The output of `clip-wasm convert` for a checkpoint.
 * @param {string} name
 * @param {string} type
 */
function converted(name, type) {
  const to = join(folder, `${name}.${type}.gguf`);
  execFileSync(join(REPOSITORY, "target/release/clip-wasm"), ["convert", join(TEST_DATA, name), "--type", type, "-o", to]);
  return sha256(readFileSync(to));
}

/** @param {Buffer} bytes */
function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** @param {PartFaults} [faults] */
function serve(faults) {
  return site.hub.parts(WEIGHTS, SOURCE, faults);
}

describe("a checkpoint from its URL", () => {
  for (const [name, path] of [
    ["tiny-hf", "model.safetensors"],
    ["tiny-hf-sharded", "model.safetensors.index.json"],
    ["tiny-open_clip", "open_clip_model.safetensors"],
    ["tiny-hf-bf16", "model.safetensors"],
  ]) {
    for (const type of name === "tiny-hf" ? ["q8_0", "q4_0", "f16"] : ["q8_0"]) {
      test(`${name} becomes the ${type} file of the command line, and is not fetched again`, async (t) => {
        const page = await apiPage(site, t);
        const url = `${site.hub.origin}/${name}/${path}`;
        const outcome = await load(page, url, type === "q8_0" ? {} : { type });
        assert.equal(outcome.code, null, outcome.message);
        assert.deepEqual([outcome.text?.length, outcome.image?.length, outcome.warnings], [64, 64, []]);
        if (name === "tiny-hf" && type === "q8_0") assertVectors(outcome, right);
        const loaded = outcome.progress.map(({ loaded }) => loaded);
        assert.ok(loaded.every((bytes, i) => i === 0 || bytes >= Number(loaded[i - 1])), "progress went back");
        assert.equal(await keptFile(page), converted(String(name), type));
        const [model] = await kept(page);
        assert.deepEqual([model?.url, model?.whole], [`${url}#${type}`, true]);
        for (const path of new Set(site.hub.requests)) site.hub.answer(path, status(404));
        assertVectors(await load(page, url, { type }), { text: outcome.text, image: outcome.image });
        const { text } = await load(page, url, { type, towers: ["text"] });
        assert.deepEqual(text, outcome.text);
      });
    }
  }

  test("the demo's becomes the demo model, with its logit scale, in one pass and in two", async (t) => {
    const page = await apiPage(site, t);
    const demo = join(REPOSITORY, "examples/demo_model/shapes-and-colours");
    for (const name of readdirSync(demo)) {
      site.hub.answer(`/shapes-and-colours/${name}`, (_request, response) => void response.end(readFileSync(join(demo, name))));
    }
    const weights = "/shapes-and-colours/model.safetensors";
    const url = site.hub.parts(weights, join(demo, "model.safetensors"));
    const scale = await page.evaluate(async (url) => {
      const clip = await window.ClipEncoder.load(url);
      clip.close();
      return clip.info.logitScale;
    }, url);
    assert.ok(Math.abs(scale - Math.exp(3.845703125)) < 1e-5, String(scale));
    const whole = sha256(readFileSync(join(REPOSITORY, "www/models/demo.gguf")));
    assert.equal(await keptFile(page), whole);

    await deleteKept(page, `${url}#q8_0`);
    site.hub.parts(weights, join(demo, "model.safetensors"), { bytesPerSecond: 4_000_000 });
    const stopped = await page.evaluate(async (url) => {
      const abort = new AbortController();
      const onProgress = (/** @type {Progress} */ { loaded }) => void (loaded > 2_000_000 && abort.abort());
      return (await window.outcomeOf(url, { signal: abort.signal, onProgress })).code;
    }, url);
    assert.equal(stopped, "aborted");
    site.hub.parts(weights, join(demo, "model.safetensors"));
    assert.equal((await load(page, url)).code, null);
    assert.equal(await keptFile(page), whole);
  });

  test("one that an earlier version has stored is converted again, because it may prepare images differently", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    await load(page, url);
    await page.evaluate(async () => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("clip-wasm-models");
      for await (const folder of root.values()) {
        if (!(folder instanceof FileSystemDirectoryHandle)) continue;
        const handle = await folder.getFileHandle("about.json");
        const about = JSON.parse(await (await handle.getFile()).text());
        delete about.conversion.version;
        const writable = await handle.createWritable();
        await writable.write(JSON.stringify(about));
        await writable.close();
      }
    });
    site.hub.answer(WEIGHTS, status(404));
    assert.equal((await load(page, url)).code, "http_status");
    assert.deepEqual((await kept(page)).map(({ whole }) => whole), [true], "a stored model that cannot be converted again is not deleted");
    serve();
    assertVectors(await load(page, url), right);
    site.hub.answer(WEIGHTS, status(404));
    assertVectors(await load(page, url), right);
  });

  test("cut at random bytes goes on", async (t) => {
    const page = await apiPage(site, t);
    const next = random(5);
    let cuts = 0;
    const size = statSync(SOURCE).size;
    const url = serve({ cutAfter: () => (cuts++ < 8 ? 1 + Math.floor((next() * size) / 6) : Infinity) });
    assertVectors(await load(page, url), right);
    assert.ok(cuts > 4, String(cuts));
    assert.equal(await keptFile(page), sha256(readFileSync(TINY_MODEL)));
    record({ section: "faults", what: "a checkpoint whose connection is cut", tried: "eight times at random bytes", outcome: "resumes; the converted file equals the command line's" });
  });

  test("resumes after the page was reloaded halfway, and after an abort", async (t) => {
    const page = await apiPage(site, t);
    const size = statSync(SOURCE).size;
    // So slow that every byte that the server has written has arrived, even on a busy machine. And the response stops
    // here, so that a worker that outlives its page for a moment cannot finish.
    const bytesPerSecond = 3_000_000;
    const url = serve({ bytesPerSecond, silentAfter: () => 6_000_000 });
    const keeps = (/** @type {number} */ least) => {
      const condition = async () => Number((await kept(page))[0]?.keptSize) > least;
      return waitUntil(`more than ${least} bytes of the converted file are kept`, condition);
    };
    await beginLoad(page, url);
    await keeps(2_000_000);
    await abortLoad(page);
    const [model] = await kept(page);
    assert.equal(model?.whole, false);
    await beginLoad(page, url);
    await keeps(model.keptSize + 500_000);
    await page.reload();
    serve({ bytesPerSecond });
    await openApi(page);
    assertVectors(await load(page, url), right);
    assert.ok(site.hub.sent < 1.6 * size, `${site.hub.sent} bytes for ${size}`);
    assert.equal(await keptFile(page), sha256(readFileSync(TINY_MODEL)));
    record({ section: "faults", what: "a page that is reloaded while a checkpoint is converted", tried: "once, and one abort", outcome: "resumes; the converted file equals the command line's" });
  });

  test("that changes during the load is loaded again", async (t) => {
    const page = await apiPage(site, t);
    const url = serve({ silentAfter: () => 8_000_000 });
    await beginLoad(page, url);
    await waitUntil("something is kept", async () => Number((await kept(page))[0]?.keptSize) > 0);
    await abortLoad(page);
    serve({ etag: '"two"' });
    assertVectors(await load(page, url), right);
    assert.equal(await keptFile(page), sha256(readFileSync(TINY_MODEL)));
    record({ section: "faults", what: "a checkpoint that changes on its server", tried: "between two loads of one conversion", outcome: "downloaded again" });
  });

  test("is verified by the SHA-256 of its weights", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    const wrong = await load(page, url, { sha256: "0".repeat(64) });
    assert.equal(wrong.code, "corrupt_model");
    assert.deepEqual(await kept(page), []);
    const hash = sha256(readFileSync(SOURCE));
    assertVectors(await load(page, url, { sha256: hash }), right);
    assert.equal((await kept(page))[0]?.verified, true);
    site.hub.answer(WEIGHTS, status(404));
    assertVectors(await load(page, url, { sha256: hash }), right);
  });

  for (const tower of ["vision", "text"]) {
    test(`of the ${tower} tower alone embeds that tower's inputs`, async (t) => {
      const page = await apiPage(site, t);
      const config = JSON.parse(readFileSync(join(TEST_DATA, "tiny-hf/config.json"), "utf8"));
      const described = { ...config[`${tower}_config`], model_type: `clip_${tower}_model`, projection_dim: config.projection_dim };
      site.hub.answer("/tiny-hf/config.json", (_request, response) => void response.end(JSON.stringify(described)));
      // A vision tower has no tokens, and no file for them.
      if (tower === "vision") for (const name of ["tokenizer.json", "vocab.json"]) site.hub.answer(`/tiny-hf/${name}`, status(404));
      const { text, image } = right;
      assertVectors(await load(page, serve()), tower === "vision" ? { text: null, image } : { text, image: null });
    });
  }

  test("without its configuration, its tokenizer or its weights is refused, and the missing file is named", async (t) => {
    const page = await apiPage(site, t);
    const url = serve();
    site.hub.answer("/tiny-hf/config.json", status(404));
    const config = await load(page, url);
    assert.equal(config.code, "malformed_model");
    assert.match(config.message, /config\.json/);
    site.hub.reset();
    for (const name of ["tokenizer.json", "vocab.json"]) site.hub.answer(`/tiny-hf/${name}`, status(404));
    const tokenizer = await load(page, url);
    assert.equal(tokenizer.code, "malformed_model");
    assert.match(tokenizer.message, /tokenizer\.json/);
    site.hub.answer(WEIGHTS, status(404));
    assert.equal((await load(page, url)).code, "http_status");
    assert.deepEqual(await kept(page), []);
    record({ section: "faults", what: "a checkpoint that lacks a file", tried: "configuration, tokenizer, weights", outcome: "an error that names the missing file; nothing is kept" });
  });

  test("runs if nothing can be stored", async (t) => {
    const page = await apiPage(site, t, script(removeFileSystem));
    const outcome = await load(page, serve());
    assertVectors(outcome, right);
    assert.match(String(outcome.warnings), /not_kept: .+ no file system/);
  });
});

describe("a checkpoint of torch", () => {
  for (const [name, weights, path] of [
    ["tiny-hf", "model.safetensors", "pytorch_model.bin"],
    ["tiny-open_clip", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
  ]) {
    test(`${path} becomes the same file as its safetensors, with and without range requests`, async (t) => {
      const page = await apiPage(site, t);
      const file = join(folder, String(path));
      writeFileSync(file, torchCheckpoint(readFileSync(join(TEST_DATA, String(name), String(weights)))));
      const url = site.hub.parts(`/${name}/${path}`, file);
      const outcome = await load(page, url);
      assert.equal(outcome.code, null, outcome.message);
      if (name === "tiny-hf") assertVectors(outcome, right);
      assert.equal(await keptFile(page), converted(String(name), "q8_0"));
      assert.deepEqual((await kept(page)).map(({ url: key, whole }) => [key, whole]), [[`${url}#q8_0`, true]]);

      await deleteKept(page, `${url}#q8_0`);
      site.hub.answer(`/${name}/${path}`, (_request, response) => void response.end(readFileSync(file)));
      const hash = sha256(readFileSync(file));
      assertVectors(await load(page, url, { sha256: hash }), { text: outcome.text, image: outcome.image });
      assert.equal(await keptFile(page), converted(String(name), "q8_0"));
    });
  }

  test("cut at random bytes goes on", async (t) => {
    const page = await apiPage(site, t);
    const file = join(folder, "pytorch_model.bin");
    const bytes = torchCheckpoint(readFileSync(SOURCE));
    writeFileSync(file, bytes);
    const next = random(6);
    let cuts = 0;
    const cutAfter = () => (cuts++ < 8 ? 1 + Math.floor((next() * bytes.length) / 6) : Infinity);
    const url = site.hub.parts("/tiny-hf/pytorch_model.bin", file, { cutAfter });
    assertVectors(await load(page, url), right);
    assert.ok(cuts > 4, String(cuts));
    assert.equal(await keptFile(page), sha256(readFileSync(TINY_MODEL)));
  });

  for (const [file, says] of [
    ["legacy.bin", /before torch 1\.6/],
    ["module.bin", /torch\.nn\.modules\.linear\.Linear/],
    ["script.pt", /TorchScript/],
  ]) {
    test(`${file} is refused, and its kind is named`, async (t) => {
      const page = await apiPage(site, t);
      const { code, message } = await load(page, site.hub.parts("/tiny-hf/pytorch_model.bin", join(REPOSITORY, "tests/fixtures/torch", String(file))));
      assert.equal(code, "unsupported_model");
      assert.match(message, /** @type {RegExp} */ (says));
      assert.deepEqual(await kept(page), []);
    });
  }
});

describe("a checkpoint from disk", () => {
  const files = readdirSync(join(TEST_DATA, "tiny-hf")).map((name) => join(TEST_DATA, "tiny-hf", name));

  test("chosen with the files beside it loads without requests to a server", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadFile(files);
    await clip.ready();
    await clip.pickImages([join(FIXTURES, "cat.png")]);
    await clip.embed();
    assert.deepEqual((await clip.copied()).data, [right.image]);
    assert.deepEqual(site.hub.requests, []);
    await clip.openModelPanel();
    assert.equal(await clip.page.getByRole("button", { name: "Loaded" }).isDisabled(), true);
  });

  test("chosen alone is refused, and the missing files are named", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadFile([SOURCE]);
    await clip.modelError.waitFor();
    assert.equal(await shownCode(clip.modelError), "malformed_model");
    assert.match(String(await clip.modelError.textContent()), /config\.json/);
  });
});
