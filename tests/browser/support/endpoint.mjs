// Requests to the endpoint, as its clients make them in a page.

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { Site } from "./browser.mjs" */

export const NLP = "api/predict/nlp/project/key";
export const FILE = "api/predict/file/project/key";
export const OPENAI = "v1/embeddings";

/** @typedef {{ status: number, headers: Record<string, string>, json: any }} Answer */
/** @typedef {{ field: string, name?: string, base64?: string, text?: string }} Part of a form */

/**
 * The page with the tiny model, on its first visit.
 * @param {Site} site
 * @param {TestContext} t
 */
export async function pageWithModel(site, t) {
  const clip = await site.newPageWithServiceWorker(t);
  await clip.loadTinyModel();
  await controlled(clip.page);
  return clip.page;
}

/** @param {Page} page */
export async function controlled(page) {
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {unknown} json
 * @returns {Promise<Answer>}
 */
export async function post(page, path, json) {
  return send(page, path, { method: "POST", headers: { "content-type": "application/json", key: "any" }, body: JSON.stringify(json) });
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {{ method?: string, headers?: Record<string, string>, body?: string }} init
 * @returns {Promise<Answer>}
 */
export async function send(page, path, init) {
  return page.evaluate(
    async ({ path, init }) => {
      const response = await fetch(path, init);
      return { status: response.status, headers: Object.fromEntries(response.headers), json: await response.json() };
    },
    { path, init },
  );
}

/**
 * @param {Page} page
 * @param {Part[]} parts
 * @returns {Promise<Answer>}
 */
export async function upload(page, parts) {
  return page.evaluate(
    async ({ path, parts }) => {
      const form = new FormData();
      for (const { field, name, base64, text } of parts) {
        if (text !== undefined) form.append(field, text);
        else form.append(field, new Blob([Uint8Array.from(atob(base64 ?? ""), (byte) => byte.charCodeAt(0))]), name);
      }
      const response = await fetch(path, { method: "POST", body: form });
      return { status: response.status, headers: Object.fromEntries(response.headers), json: await response.json() };
    },
    { path: FILE, parts },
  );
}

/** @param {Buffer} bytes @param {string} name @returns {Part} */
export const filePart = (bytes, name) => ({ field: "predict_file", name, base64: bytes.toString("base64") });
