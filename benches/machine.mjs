// Describes the machine and the software versions.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { REPOSITORY } from "./browser.mjs";

const PEERS = join(REPOSITORY, "benches/peers/node_modules");

const SAMPLE_MILLISECONDS = 2000;

/**
 * @param {string} browser its version
 * @returns {Promise<Record<string, string>>}
 */
export async function describeMachine(browser) {
  const [cpu] = cpus();
  const onnxruntime = version("onnxruntime-web");
  const transformers = version("@huggingface/transformers");
  const inside = version("@huggingface/transformers/node_modules/onnxruntime-web");
  return {
    Date: new Date().toISOString().slice(0, 10),
    CPU: `${cpu?.model.trim()}, ${cpus().length} cores`,
    "CPU load before the run": `${(100 * (await busyShare())).toFixed(0)} %`,
    OS: `${distribution()}, Linux ${release()}`,
    Browser: `Chromium ${browser}, headless`,
    "clip-wasm": execFileSync("git", ["describe", "--always", "--dirty"], { cwd: REPOSITORY, encoding: "utf8" }).trim(),
    "onnxruntime-web": onnxruntime,
    "transformers.js": `${transformers}, with onnxruntime-web ${inside}`,
    Model: "ViT-B/32 with GELU where no other is named, seeded weights; q8_0 for clip-wasm, int8 by onnxruntime's dynamic quantisation for the others",
  };
}

/** The share of all cores in use before the measurement. Above a few per cent, the results cannot be trusted. */
async function busyShare() {
  const sum = (/** @type {(times: import("node:os").CpuInfo["times"]) => number} */ part) =>
    cpus().reduce((total, { times }) => total + part(times), 0);
  const all = () => sum(({ user, nice, sys, irq, idle }) => user + nice + sys + irq + idle);
  const [idleBefore, allBefore] = [sum(({ idle }) => idle), all()];
  await pause(SAMPLE_MILLISECONDS);
  return 1 - (sum(({ idle }) => idle) - idleBefore) / (all() - allBefore);
}

/** @param {string} name */
function version(name) {
  return JSON.parse(readFileSync(join(PEERS, name, "package.json"), "utf8")).version;
}

function distribution() {
  return /^PRETTY_NAME="(.*)"$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux";
}
