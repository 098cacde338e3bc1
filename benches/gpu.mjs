// A GPU: whether Chromium has one, and what the towers are on the one that the native build finds.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { REPOSITORY } from "./browser.mjs";

/** @import { BrowserContext } from "playwright-core" */
/** @import { Hosts } from "./browser.mjs" */

/**
 * @typedef {object} GpuRow
 * @property {string} product how int8 is multiplied
 * @property {string} inputs
 * @property {number} dispatches
 * @property {number} weightBytes
 * @property {number} bufferBytes
 * @property {number} multiplyAdds
 * @property {number[]} milliseconds of each call
 * @property {number | null} cosine the least, of known inputs to the processor's vectors
 */

/** @typedef {{ adapter: string, isSoftware: boolean, race: { gpu: number, cpu: number }, rows: GpuRow[] }} GpuReport */

const MODEL = "target/bench/models/clip-vit-base-patch32.q8_0.gguf";
const ARGUMENTS = ["run", "-q", "--release", "--example", "gpu", "--features", "gpu", "--", MODEL];

/**
 * The name of the browser's GPU; `null` if it has none, or one that computes on the processor.
 * @param {BrowserContext} context
 * @param {Hosts} hosts
 * @returns {Promise<string | null>}
 */
export async function gpuOf(context, hosts) {
  const page = await context.newPage();
  await page.goto(`${hosts.isolated.origin}/benches/page/`);
  const name = await page.evaluate(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || adapter.info.isFallbackAdapter) return null;
    const { vendor, architecture, description } = adapter.info;
    return description || `${vendor} ${architecture}`;
  });
  await page.close();
  return name;
}

/** @returns {Promise<GpuReport | null>} `null` if the system has no GPU, not even a software one */
export async function measureGpu() {
  try {
    const { stdout } = await promisify(execFile)("cargo", ARGUMENTS, { cwd: REPOSITORY, timeout: 1_200_000 });
    return JSON.parse(stdout);
  } catch (error) {
    if (!/gpu_unavailable|GpuUnavailable/.test(String(error))) throw error;
    console.log("SKIPPED: there is no GPU adapter, not even lavapipe");
    return null;
  }
}
