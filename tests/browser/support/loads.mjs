// Loads with the API, and their results.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FIXTURES, REPOSITORY } from "./browser.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
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
 * @property {{ loaded: number, total: number | null, bytesPerSecond: number | null, secondsLeft: number | null }[]}
 *   progress
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
  const environment = readFileSync(join(REPOSITORY, "www/lib/shared/environment.js"), "utf8");
  const hasty = environment.replace("setTimeout(resolve, milliseconds)", `setTimeout(resolve, milliseconds / ${HASTE})`);
  assert.notEqual(hasty, environment);
  site.own.answer("/lib/shared/environment.js", (_request, response) => void response.writeHead(200, { "content-type": "text/javascript" }).end(hasty));
  if (workerScript) {
    const source = readFileSync(join(REPOSITORY, "www/lib/worker/model-worker.js"), "utf8");
    site.own.answer("/lib/worker/model-worker.js", (_request, response) => {
      response.writeHead(200, { "content-type": "text/javascript" }).end(`${workerScript}\n${source}`);
    });
  }
  await openApi(page);
  return page;
}

/** @param {Page} page */
export async function openApi(page) {
  const cat = readFileSync(join(FIXTURES, "cat.png"), "base64");
  await page.evaluate(async (cat) => {
    const api = await import(/** @type {string} */ ("/clip.js"));
    const bytes = Uint8Array.from(atob(cat), (character) => character.charCodeAt(0));
    const outcomeOf = async (/** @type {any} */ url, /** @type {any} */ options = {}) => {
      /** @type {any} */
      const outcome = { code: null, message: "", text: null, image: null, warnings: [], progress: [] };
      try {
        const clip = await api.ClipEncoder.load(url, {
          idleTimeout: 1000,
          onWarning: (/** @type {any} */ { code, message }) => outcome.warnings.push(`${code}: ${message}`),
          onProgress: (/** @type {any} */ progress) => outcome.progress.push(progress),
          ...options,
        });
        const { towers } = clip.info;
        if (towers.includes("text")) outcome.text = (await clip.embedText(["a dog"])).data[0];
        if (towers.includes("vision")) outcome.image = (await clip.embedImage([bytes])).data[0];
        clip.close();
      } catch (error) {
        Object.assign(outcome, { code: /** @type {any} */ (error).code ?? String(error), message: /** @type {any} */ (error).message });
      }
      return outcome;
    };
    Object.assign(window, { ...api, cat: bytes, outcomeOf });
  }, cat);
}

/**
 * @param {Page} page
 * @param {string} url
 * @param {object} [options] of `ClipEncoder.load`
 * @returns {Promise<Outcome>}
 */
export async function load(page, url, options = {}) {
  return page.evaluate(`outcomeOf(${JSON.stringify(url)}, ${JSON.stringify(options)})`);
}

/** @param {Page} page @returns {Promise<any[]>} */
export async function kept(page) {
  return page.evaluate("keptModels()");
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
