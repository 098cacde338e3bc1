// Measures the time from opening a library to the first vector of an image, with everything in the browser's caches,
// and the bytes that the visit before has downloaded.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { median } from "../tests/browser/support/vectors.mjs";
import { ContestantPage, REPOSITORY, withBrowser } from "./browser.mjs";
import { CONTESTANTS } from "./cases.mjs";
import { VIT_B_32 } from "./page/models.js";

/** @import { BrowserContext } from "playwright-core" */
/** @import { Hosts } from "./browser.mjs" */
/** @import { Name, Tower } from "./page/contestants.js" */

/**
 * @typedef {object} Visit in milliseconds
 * @property {number} open
 * @property {number} first the first call
 * @property {number} warm a later call, the median of five
 * @property {Record<string, number>} loaded bytes of each file that was requested from the server
 */

/** @typedef {Partial<Record<Name, { first: Visit, again: Visit[] }>>} Visits */

/** Time for a library to write to a cache after its first result. */
const SETTLE_MILLISECONDS = 1000;
const LATER_CALLS = 10;

/**
 * @param {Hosts} hosts
 * @param {Tower[]} towers
 * @param {number} rounds
 * @returns {Promise<Visits>}
 */
export async function measureVisits(hosts, towers, rounds) {
  return withBrowser(async (context) => {
    /** @type {Visits} */
    const visits = {};
    for (const name of CONTESTANTS) {
      visits[name] = { first: await visit(context, hosts, name, towers, { first: true }), again: [] };
      await pause(SETTLE_MILLISECONDS);
    }
    for (let round = 0; round < rounds; round++) {
      for (const name of CONTESTANTS) {
        visits[name]?.again.push(await visit(context, hosts, name, towers, { first: false }));
      }
    }
    return visits;
  });
}

/**
 * @param {BrowserContext} context
 * @param {Hosts} hosts
 * @param {Name} name
 * @param {Tower[]} towers
 * @param {{ first: boolean }} options
 * @returns {Promise<Visit>}
 */
async function visit(context, hosts, name, towers, options) {
  const host = hosts.plain(name);
  const page = await ContestantPage.create(context, host, name, options);
  host.reset();
  const open = await page.open(name, { model: VIT_B_32, towers });
  const loaded = await sizes(host.requests);
  await page.prepare();
  const embed = async () =>
    name === "onnxruntime-web" ? page.time("imageTower", [0, 1]) : page.time("embedImage", [0]);
  const first = await embed();
  const later = [];
  for (let call = 0; call < LATER_CALLS; call++) later.push(await embed());
  await page.close();
  return { open, first, warm: median(later.slice(-5)), loaded };
}

/**
 * @param {string[]} paths
 * @returns {Promise<Record<string, number>>} without the benchmark's own files
 */
async function sizes(paths) {
  /** @type {Record<string, number>} */
  const bytes = {};
  for (const path of paths) {
    if (path.startsWith("/benches/page/")) continue;
    bytes[path] = (bytes[path] ?? 0) + (await stat(join(REPOSITORY, path))).size;
  }
  return bytes;
}
