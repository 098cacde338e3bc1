// GPUs with faults: scripts that run in a model's worker before its own.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "./browser.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Page } from "playwright-core" */
/** @import { Site } from "./browser.mjs" */

/** SwiftShader passes for a GPU. On a busy machine it needs more than the 10 s that a driver has to answer. */
export const HARDWARE = `
  Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
  {
    const start = globalThis.setTimeout;
    globalThis.setTimeout = (run, milliseconds, ...rest) => start(run, milliseconds === 10_000 ? 60_000 : milliseconds, ...rest);
  }`;

/** Lets a page destroy its workers' devices: see {@link pageWithWorkers}. */
export const LOSES = `
  const requestDevice = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await requestDevice.call(this, descriptor);
    const channel = new BroadcastChannel("lose");
    channel.onmessage = ({ data }) => {
      if (data !== "lose") return;
      device.destroy();
      channel.postMessage("lost");
    };
    return device;
  };`;

/**
 * @param {Site} site
 * @param {string} script
 */
export function beginWorkersWith(site, script) {
  const source = readFileSync(join(REPOSITORY, "www/pkg/workers/model-worker.js"), "utf8");
  site.own.answer("/pkg/workers/model-worker.js", (_request, response) => {
    response.writeHead(200, { "content-type": "text/javascript" }).end(`${script}\n${source}`);
  });
}

/**
 * An empty page in whose workers a script runs first. With {@link LOSES} in it, `loseGpu` destroys their devices.
 * @param {Site} site
 * @param {TestContext} t
 * @param {string} script
 * @returns {Promise<Page>}
 */
export async function pageWithWorkers(site, t, script) {
  const page = await site.emptyPage(t);
  page.setDefaultTimeout(100_000);
  if (script) beginWorkersWith(site, script);
  await page.evaluate(() => {
    const sleep = (/** @type {number} */ milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
    window.loseGpu = async () => {
      const channel = new BroadcastChannel("lose");
      const lost = new Promise((resolve) => (channel.onmessage = resolve));
      channel.postMessage("lose");
      await Promise.race([lost, sleep(5000)]);
      channel.close();
      await sleep(200); // the worker is told of the loss
    };
  });
  return page;
}
