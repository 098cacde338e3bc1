// What the numbers were measured on and with.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "./browser.mjs";

const PEERS = join(REPOSITORY, "benches/peers/node_modules");

/**
 * @param {string} browser its version
 * @returns {Record<string, string>}
 */
export function describeMachine(browser) {
  const [cpu] = cpus();
  const onnxruntime = version("onnxruntime-web");
  const transformers = version("@huggingface/transformers");
  const inside = version("@huggingface/transformers/node_modules/onnxruntime-web");
  return {
    Date: new Date().toISOString().slice(0, 10),
    CPU: `${cpu?.model.trim()}, ${cpus().length} cores`,
    "Load before": loadavg()[0]?.toFixed(2) ?? "unknown",
    OS: `${distribution()}, Linux ${release()}`,
    Browser: `Chromium ${browser}, headless`,
    "clip-wasm": execFileSync("git", ["describe", "--always", "--dirty"], { cwd: REPOSITORY, encoding: "utf8" }).trim(),
    "onnxruntime-web": onnxruntime,
    "transformers.js": `${transformers}, with onnxruntime-web ${inside}`,
    Model: "ViT-B/32 with GELU, seeded weights; q8_0 here, int8 by onnxruntime's dynamic quantisation there",
  };
}

/** @param {string} name */
function version(name) {
  return JSON.parse(readFileSync(join(PEERS, name, "package.json"), "utf8")).version;
}

function distribution() {
  return /^PRETTY_NAME="(.*)"$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux";
}
