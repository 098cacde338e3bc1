// Loads with the API, and their results.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FIXTURES, REPOSITORY } from "./browser.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { ClipError, LoadOptions, Progress } from "../../../www/clip.js" */
/** @import { Site } from "./browser.mjs" */

/** How many times shorter pauses are than for a visitor. */
const HASTE = 20;

/** @typedef {{ text: number[] | null, image: number[] | null }} Vectors */

/**
 * The result of a load, and of embedding a text and an image after it.
 * @typedef {object} Outcome
 * @property {string | null} code
 * @property {string} message
 * @property {number[] | null} text
 * @property {number[] | null} image
 * @property {string[]} warnings
 * @property {Progress[]} progress
 */

/**
 * An empty page with the API and nothing kept, on which the pauses before another try are short.
 * @param {Site} site
 * @param {Pick<TestContext, "after">} t
 * @param {string} [workerScript] that every worker of the page runs first
 * @returns {Promise<Page>}
 */
export async function apiPage(site, t, workerScript = "") {
  const page = await site.emptyPage(t);
  for (const [path, before] of [["lib/shared/environment.js", ""], ["pkg/workers/model-worker.js", workerScript]]) {
    const source = readFileSync(join(REPOSITORY, "www", String(path)), "utf8");
    const hasty = source.replace("setTimeout(resolve, milliseconds)", `setTimeout(resolve, milliseconds / ${HASTE})`);
    assert.notEqual(hasty, source);
    site.own.answer(`/${path}`, (_request, response) => {
      response.writeHead(200, { "content-type": "text/javascript" }).end(`${before}\n${hasty}`);
    });
  }
  await openApi(page);
  return page;
}

/**
 * The source text of a call, for `apiPage`.
 * @template Argument
 * @param {(argument: Argument) => void} run uses only its argument and the globals of a worker
 * @param {Argument} [argument]
 */
export function script(run, argument) {
  return `(${run})(${JSON.stringify(argument) ?? ""});`;
}

/** Runs in a page or in a worker: the private file system is missing afterwards. */
export function removeFileSystem() {
  Reflect.deleteProperty(StorageManager.prototype, "getDirectory");
}

/**
 * @param {Page} page
 * @param {string} [entry] of the library
 */
export async function openApi(page, entry = "/clip.js") {
  const cat = readFileSync(join(FIXTURES, "cat.png"), "base64");
  await page.evaluate(async ({ cat, entry }) => {
    /** @type {typeof import("../../../www/clip.js")} */
    const api = await import(entry);
    Object.assign(window, api);
    window.cat = Uint8Array.from(atob(cat), (character) => character.charCodeAt(0));
    window.outcomeOf = async (url, options = {}) => {
      /** @type {Outcome} */
      const outcome = { code: null, message: "", text: null, image: null, warnings: [], progress: [] };
      try {
        const clip = await api.ClipEncoder.load(url, {
          idleTimeout: 1000,
          onWarning: ({ code, message }) => outcome.warnings.push(`${code}: ${message}`),
          onProgress: (progress) => outcome.progress.push(progress),
          ...options,
        });
        const { towers } = clip.info;
        if (towers.includes("text")) outcome.text = (await clip.embedText(["a dog"])).data[0] ?? null;
        if (towers.includes("vision")) outcome.image = (await clip.embedImage([window.cat])).data[0] ?? null;
        clip.close();
      } catch (error) {
        const { code, message } = /** @type {ClipError} */ (error);
        Object.assign(outcome, { code: code ?? String(error), message });
      }
      return outcome;
    };
    window.codeOf = (call) =>
      call.then(
        () => "no error",
        (error) => (error instanceof api.ClipError ? error.code : `no ClipError: ${error}`),
      );
    window.told = (/** @type {Promise<any>} */ call) =>
      call.then(
        (value) => value?.data?.[0] ?? value ?? "done",
        ({ code, message }) => `${code}: ${message}`,
      );
    window.warnings = [];
    window.onWarning = ({ code, message }) => window.warnings.push(`${code}: ${message}`);
  }, { cat, entry });
}

/**
 * A page with the API, a model in `clip`, and an image at /images/cat.png.
 * @param {Site} site
 * @param {Pick<TestContext, "after">} t
 * @param {string} [model] its file in the test data
 * @returns {Promise<Page>}
 */
export async function pageWithEncoder(site, t, model = "tiny-gelu.q8_0.gguf") {
  const page = await site.emptyPage(t);
  site.own.answer("/images/cat.png", (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.png"))));
  await openApi(page);
  await page.evaluate(async (url) => void (window.clip = await window.ClipEncoder.load(url)), `${site.hub.origin}/${model}`);
  return page;
}

/**
 * The vectors of a model, from a page of its own.
 * @param {Site} site
 * @param {() => string} serve gives the model's URL, when the page is open
 * @returns {Promise<Vectors>}
 */
export async function vectorsOf(site, serve) {
  /** @type {(() => unknown)[]} */
  const ends = [];
  const page = await apiPage(site, { after: (end) => void ends.push(/** @type {() => unknown} */ (end)) });
  const { code, text, image } = await load(page, serve());
  assert.equal(code, null);
  for (const end of ends) await end();
  return { text, image };
}

/**
 * The error code of a call with wrong arguments, or `no error`.
 * @param {Page} page
 * @param {(globals: any) => Promise<unknown>} call runs in the page, whose globals it receives
 * @returns {Promise<string>}
 */
export async function codeOf(page, call) {
  return page.evaluate(`codeOf((${call})(window))`);
}

/**
 * The text of such a call, for the name of a test.
 * @param {Function} call
 */
export function written(call) {
  return String(call).replace(/^.*? => /, "");
}

/**
 * @param {Page} page
 * @param {string} url
 * @param {LoadOptions} [options]
 */
export async function load(page, url, options = {}) {
  return page.evaluate(({ url, options }) => window.outcomeOf(url, options), { url, options });
}

/**
 * Starts a load with a long idle timeout, and does not wait for its end. `abortLoad` ends it.
 * @param {Page} page
 * @param {string} url
 */
export async function beginLoad(page, url) {
  await page.evaluate((url) => {
    window.abort = new AbortController();
    window.loading = window.outcomeOf(url, { signal: window.abort.signal, idleTimeout: 60_000 });
  }, url);
}

/** @param {Page} page */
export async function abortLoad(page) {
  await page.evaluate(async () => {
    window.abort.abort();
    await window.loading;
  });
}

/** @param {Page} page */
export async function kept(page) {
  return page.evaluate(() => window.keptModels());
}

/**
 * @param {Page} page
 * @param {string} url
 */
export async function deleteKept(page, url) {
  await page.evaluate((url) => window.deleteKeptModel(url), url);
}

/**
 * @param {Outcome} outcome
 * @param {Vectors} expected
 */
export function assertVectors({ code, message, text, image }, expected) {
  assert.equal(code, null, message);
  assert.deepEqual({ text, image }, expected);
}

/**
 * Pseudo-random numbers in [0, 1), the same on every run.
 * @param {number} seed
 */
export function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * The SHA-256 of the only stored file.
 * @param {Page} page
 */
export async function keptFile(page) {
  return page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("clip-wasm-models");
    for await (const folder of root.values()) {
      if (!(folder instanceof FileSystemDirectoryHandle)) continue;
      const file = await (await folder.getFileHandle("0")).getFile();
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
      return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return null;
  });
}
