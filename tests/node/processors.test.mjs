// The towers' module with relaxed SIMD on processors that are not at hand: in V8 and JavaScriptCore for 64-bit Arm, under
// an emulator, and in V8 for x86 with AVX-VNNI, whose instructions are computed by a signal handler. Each must find out
// what its dot product does, and give the vectors of plain SIMD to the last bit. tests/emulated/ has what runs there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { promisify } from "node:util";
import { REPOSITORY } from "../browser/support/browser.mjs";
import { addressOfFeatures, ARM_LIBRARIES, buildAddOn, engine, makeModels } from "../emulated/engines.mjs";
import { record } from "../reliability/record.mjs";

/** @import { EngineName } from "../emulated/engines.mjs" */

const run = promisify(execFile);

const CHECK = join(REPOSITORY, "tests/emulated/check.mjs");
const PKG = join(REPOSITORY, "www/pkg");
const MODULE = "clip_wasm_bg.wasm";

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {EngineName} engine
 * @property {string} products what the module must find out; otherwise the row proves nothing
 * @property {string} [processor] for the emulator of Arm
 * @property {string[]} [flags]
 * @property {"unsigned" | "signed"} [emulated] instruction of x86
 */

/** @type {Row[]} */
const ROWS = [
  { name: "Arm, V8's optimising compiler", engine: "arm", processor: "max", flags: ["--no-liftoff"], products: "signed bytes" },
  { name: "Arm, V8's baseline compiler", engine: "arm", processor: "max", flags: ["--liftoff-only"], products: "signed bytes" },
  { name: "Arm without DOTPROD, V8", engine: "arm", processor: "cortex-a72", flags: ["--no-liftoff"], products: "signed bytes" },
  { name: "Arm, JavaScriptCore", engine: "jsc", processor: "max", products: "signed bytes" },
  { name: "x86 with AVX-VNNI, V8", engine: "x86", emulated: "unsigned", flags: ["--no-liftoff"], products: "unsigned bytes" },
  { name: "x86 with AVX-VNNI, V8's baseline compiler", engine: "x86", emulated: "unsigned", flags: ["--liftoff-only"], products: "unsigned bytes" },
  { name: "x86 with AVX-VNNI-INT8, V8", engine: "x86", emulated: "signed", flags: ["--no-liftoff"], products: "signed bytes" },
];

/** @type {string} */
let models;
/** What is to be had here, made before the rows run side by side. @type {Map<EngineName, string | null>} */
const programs = new Map();
/** @type {string | null} */
let addOn = null;
before(() => {
  models = makeModels();
  for (const row of ROWS) if (!programs.has(row.engine)) programs.set(row.engine, ifThere(() => engine(row.engine)));
  if (process.arch === "x64") addOn = ifThere(buildAddOn);
});

/**
 * @template T
 * @param {() => T} make
 * @returns {T | null} nothing if it is not to be had here
 */
function ifThere(make) {
  try {
    return make();
  } catch (error) {
    console.log(String(error));
    return null;
  }
}

describe("vectors of the module with relaxed SIMD are those of plain SIMD, to the last bit", { concurrency: 2 }, () => {
  for (const row of ROWS) {
    test(row.name, { timeout: 300_000 }, async (t) => {
      const program = programs.get(row.engine);
      if (!program) return t.skip(`the engine ${row.engine} is not to be had here`);
      if (row.emulated && !addOn) return t.skip("needs an x86 and a compiler of C");
      if (!row.emulated && !existsSync(ARM_LIBRARIES)) return t.skip("the emulator of Arm is not to be had here");
      const amount = row.emulated ? "few" : "all"; // each emulated instruction of x86 is a signal
      const wanted = await embedded(process.execPath, [], "simd128", amount);
      const arm = ["-L", ARM_LIBRARIES, "-cpu", row.processor ?? "", program];
      const [command, options] = row.emulated
        ? [program, ["--require", /** @type {string} */ (addOn)]]
        : ["qemu-aarch64-static", arm];
      /** @type {Record<string, string>} */
      const env = row.emulated ? { EMULATED: row.emulated, SUPPORTED_AT: addressOfFeatures(program) } : {};
      const got = await embedded(command, [...options, ...(row.flags ?? [])], "relaxed", amount, env);
      assert.equal(got.products, row.products);
      assert.deepEqual(got.vectors, wanted.vectors);
      const count = Object.values(got.vectors).flat().length;
      record({ section: "processors", what: row.name, tried: `${count} inputs, weights from -128 to 127`, outcome: "vectors equal to plain SIMD's, to the last bit" });
    });
  }
});

test("only the modules with relaxed SIMD have its instructions", () => {
  // A newer compiler may make relaxed instructions of ordinary ones, whose results then depend on the processor.
  const modules = readdirSync(PKG).filter((name) => existsSync(join(PKG, name, MODULE)));
  assert.ok(modules.some((name) => name.startsWith("relaxed")) && modules.includes("simd128"), String(modules));
  for (const name of modules) {
    const count = countRelaxedDots(readFileSync(join(PKG, name, MODULE)));
    if (!name.startsWith("relaxed")) assert.equal(count, 0, name);
    else assert.ok(count >= 20 && count <= 200, `${name} has ${count}`);
  }
});

/**
 * @param {string} command
 * @param {string[]} options
 * @param {string} build
 * @param {string} amount
 * @param {Record<string, string>} [env]
 * @returns {Promise<{ products: string, vectors: Record<string, string[]> }>}
 */
async function embedded(command, options, build, amount, env = {}) {
  const parameters = [...options, CHECK, join(PKG, build), models, amount];
  const { stdout } = await run(command, parameters, { env: { ...process.env, ...env }, maxBuffer: 64 << 20, timeout: 240_000 });
  return JSON.parse(stdout);
}

/**
 * The bytes of the two relaxed dot products: the prefix of SIMD, then 0x112 or 0x113 in LEB128. Where other numbers look
 * like them, they are counted too.
 * @param {Uint8Array} module
 */
function countRelaxedDots(module) {
  let count = 0;
  for (let i = 0; i + 2 < module.length; i++) {
    if (module[i] === 0xfd && (module[i + 1] === 0x92 || module[i + 1] === 0x93) && module[i + 2] === 0x02) count++;
  }
  return count;
}
