// Measures the peak memory of a page's process while its contestant loads both towers and runs.

import { readFile } from "node:fs/promises";
import { ContestantPage, withBrowser } from "./browser.mjs";
import { CONTESTANTS } from "./cases.mjs";
import { VIT_B_32 } from "./page/models.js";

/** @import { BrowserContext } from "playwright-core" */
/** @import { Hosts } from "./browser.mjs" */
/** @import { Name } from "./page/contestants.js" */

/** @typedef {{ loaded: number, used: number }} Peak bytes, after the model is opened and after it has run */

const CALLS = 5;

/**
 * @param {Hosts} hosts
 * @returns {Promise<{ page: number, contestants: Partial<Record<Name, Peak>> }>} `page` is the
 *   memory of an empty page
 */
export async function measureMemory(hosts) {
  const page = await withBrowser(async (context) => {
    const name = "onnxruntime-web";
    await ContestantPage.create(context, hosts.plain(name), name);
    return peak(context);
  });
  /** @type {Partial<Record<Name, Peak>>} */
  const contestants = {};
  for (const name of CONTESTANTS) contestants[name] = await withBrowser((context) => measure(context, hosts, name));
  return { page, contestants };
}

/**
 * @param {BrowserContext} context of a browser that has opened no other page
 * @param {Hosts} hosts
 * @param {Name} name
 * @returns {Promise<Peak>}
 */
async function measure(context, hosts, name) {
  const page = await ContestantPage.create(context, hosts.plain(name), name);
  await page.open(name, { model: VIT_B_32, towers: ["image", "text"] });
  const loaded = await peak(context);
  await page.prepare();
  for (let call = 0; call < CALLS; call++) {
    await page.time("imageTower", [0, 1]);
    await page.time("textTower", ["long"]);
  }
  return { loaded, used: await peak(context) };
}

/**
 * The peak of the largest renderer: the others are spares that the browser holds ready.
 * @param {BrowserContext} context
 * @returns {Promise<number>} bytes
 */
async function peak(context) {
  const browser = context.browser();
  if (!browser) throw new Error("this browser does not list its processes");
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const renderers = processInfo.filter(({ type }) => type === "renderer");
  return Math.max(...(await Promise.all(renderers.map(({ id }) => highWaterMark(id)))));
}

/**
 * @param {number} process
 * @returns {Promise<number>} bytes
 */
async function highWaterMark(process) {
  const status = await readFile(`/proc/${process}/status`, "utf8");
  const kibibytes = /^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1];
  return Number(kibibytes) * 1024;
}
