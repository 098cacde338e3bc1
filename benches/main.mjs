// Measures clip-wasm and its peers in Chromium; prints the tables.
//   BENCH_ROUNDS=3      how often each call is timed (20)
//   BENCH_ONLY=REGEX    only the cases whose names match
// Raw numbers go to target/bench/results.json. A whole run writes BENCHMARKS.md.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { measureAccuracy } from "./accuracy.mjs";
import { GPU_FLAGS, Hosts, REPOSITORY, withBrowser } from "./browser.mjs";
import { CONTESTANTS, SETUPS, WEBGPU } from "./cases.mjs";
import { describeDownloads } from "./downloads.mjs";
import { gpuOf, measureGpu } from "./gpu.mjs";
import { measureKernels } from "./kernels.mjs";
import { describeMachine } from "./machine.mjs";
import { measureMemory } from "./memory.mjs";
import { measureVisits } from "./opening.mjs";
import { renderReport } from "./report.mjs";
import { timeSetup } from "./timing.mjs";

/** @import { BrowserContext } from "playwright-core" */
/** @import { Setup } from "./cases.mjs" */
/** @import { Visits } from "./opening.mjs" */
/** @import { Results } from "./report.mjs" */

const DEFAULT_ROUNDS = 20;
const rounds = Number(process.env.BENCH_ROUNDS ?? DEFAULT_ROUNDS);
const only = new RegExp(process.env.BENCH_ONLY ?? "");
const whole = rounds >= DEFAULT_ROUNDS && only.source === "(?:)";
const visits = Math.ceil(rounds / 4);

const hosts = await new Hosts().start();
/** @type {Results} */
const results = { machine: {}, rounds, setups: {}, visits: {} };

/**
 * @param {string} name of a case, matched by BENCH_ONLY
 * @param {() => Promise<void>} measure
 */
async function section(name, measure) {
  if (!only.test(name)) return;
  console.log(`${new Date().toTimeString().slice(0, 8)}  ${name}`);
  await measure();
  await writeFile(join(REPOSITORY, "target/bench/results.json"), JSON.stringify(results));
}

/** @param {Visits} visits */
async function downloads(visits) {
  const entries = CONTESTANTS.map(async (name) => [name, await describeDownloads(visits[name]?.first.loaded ?? {})]);
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * @param {BrowserContext} context
 * @param {Setup} setup
 */
async function time(context, setup) {
  const cases = setup.cases.filter(({ name }) => only.test(`${setup.name}: ${name}`));
  if (cases.length === 0) return;
  await timeSetup(context, hosts, setup, cases, rounds, async (timed, measure) => {
    await section(`${setup.name}: ${timed.name}`, async () => {
      (results.setups[setup.name] ??= {})[timed.name] = await measure();
    });
  });
}

try {
  await withBrowser(async (context) => {
    results.machine = await describeMachine(context.browser()?.version() ?? "unknown");
    for (const setup of SETUPS) await time(context, setup);
  });
  await withBrowser(async (context) => {
    const gpu = await gpuOf(context, hosts);
    if (gpu === null) return console.log("SKIPPED: WebGPU, for Chromium has no GPU here, or one that computes on the processor");
    results.machine.GPU = gpu;
    await time(context, WEBGPU);
  }, GPU_FLAGS);
  await section("GPU, natively", async () => {
    results.gpu = (await measureGpu()) ?? undefined;
  });
  await section("second visit, image tower", async () => {
    results.visits["image tower"] = await measureVisits(hosts, ["image"], visits);
  });
  await section("second visit, both towers", async () => {
    const found = await measureVisits(hosts, ["image", "text"], visits);
    results.visits["both towers"] = found;
    results.downloads = await downloads(found);
  });
  await section("memory", async () => {
    results.memory = await measureMemory(hosts);
  });
  await section("accuracy", async () => {
    results.accuracy = await measureAccuracy(hosts);
  });
  await section("kernels", async () => {
    results.kernels = await measureKernels(hosts.isolated, rounds);
  });
} finally {
  await hosts.stop();
}
const report = renderReport(results);
console.log(`\n${report}`);
if (whole) await writeFile(join(REPOSITORY, "BENCHMARKS.md"), report);
