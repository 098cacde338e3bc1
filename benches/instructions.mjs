// Counts the instructions that V8 makes of the int8 product for processors that are not at hand, and, where llvm-mca is
// installed, the cycles that LLVM's models of some processors give them. `./build.sh bench kernels` runs it.
//
// A block is four rows times eight outputs times 32 inputs: 1024 multiplications. Only the loop over the steps of a block is
// counted. What is done once a block, scaling its sums and adding them, is the same in both kernels. These are counts
// and models, not measurements.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { addressOfFeatures, ARM_LIBRARIES, buildAddOn, engine, makeModels } from "../tests/emulated/engines.mjs";

const REPOSITORY = resolve(import.meta.dirname, "..");
const MULTIPLICATIONS = 1024;

/**
 * @typedef {object} Kernel
 * @property {string} build
 * @property {RegExp} product the instruction that multiplies
 * @property {number} products how many multiplications one such instruction does
 */

/**
 * @typedef {object} Processor
 * @property {string} name
 * @property {"arm" | "x86"} engine
 * @property {string[]} models llvm-mca's names of processors
 * @property {string} target of LLVM
 * @property {Kernel} pairs
 * @property {Kernel} bytes
 */

/** @type {Processor[]} */
const PROCESSORS = [
  {
    name: "64-bit Arm with DOTPROD",
    engine: "arm",
    models: ["apple-m1", "cortex-a55", "cortex-a76", "neoverse-n1", "neoverse-v1"],
    target: "aarch64",
    pairs: { build: "simd128", product: /^smull2? /, products: 4 },
    bytes: { build: "relaxed", product: /^sdot /, products: 16 },
  },
  {
    name: "x86 with AVX-VNNI",
    engine: "x86",
    models: ["alderlake"],
    target: "x86_64",
    pairs: { build: "simd128", product: /^vpmaddwd /, products: 8 },
    bytes: { build: "relaxed", product: /^vpdpbusd /, products: 16 },
  },
];

const models = makeModels();
for (const processor of PROCESSORS) {
  console.log(`${processor.name}: instructions for ${MULTIPLICATIONS} multiplications, in V8's code`);
  try {
    const [pairs, bytes] = [processor.pairs, processor.bytes].map((kernel) => blockOf(processor, kernel));
    if (!pairs || !bytes) throw new Error("no kernel was found in its code");
    console.log(`  pairs ${pairs.length}, byte dot product ${bytes.length}: ${ratio(pairs.length, bytes.length)} times fewer`);
    for (const model of processor.models) {
      const cycles = [pairs, bytes].map((block) => modelled(block, processor.target, model));
      const [a, b] = cycles;
      if (a && b) console.log(`  cycles on LLVM's ${model}: pairs ${a.toFixed(0)}, byte dot product ${b.toFixed(0)}: ${ratio(a, b)} times fewer`);
    }
  } catch (error) {
    console.log(`  skipped: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * @param {number} a
 * @param {number} b
 */
function ratio(a, b) {
  return (a / b).toFixed(1);
}

/**
 * The instructions of the loop over the steps of a block of four rows, as often as it runs.
 * @param {Processor} processor
 * @param {Kernel} kernel
 * @returns {string[]}
 */
function blockOf(processor, { build, product, products }) {
  const loops = functionsIn(printed(processor, build)).flatMap((code) => loopsOf(code).map((loop) => ({ ...loop, code })));
  const counted = loops.map((loop) => ({ ...loop, count: loop.code.slice(loop.from, loop.to).filter(({ text }) => product.test(text)).length }));
  const isInside = (/** @type {typeof counted[0]} */ a, /** @type {typeof counted[0]} */ b) => a.code === b.code && b.from <= a.from && a.to <= b.to && b.to - b.from > a.to - a.from;
  // Of the loops that have no other inside, the one that multiplies most, and has the fewest instructions.
  const innermost = counted.filter((loop) => loop.count > 0 && !counted.some((other) => other.count > 0 && isInside(other, loop)));
  const inner = innermost.toSorted((a, b) => b.count - a.count || a.to - a.from - (b.to - b.from))[0];
  if (!inner) throw new Error(`the module ${build} has no loop with ${product}`);
  const times = MULTIPLICATIONS / (inner.count * products);
  if (!Number.isInteger(times)) throw new Error(`the loop with ${inner.count} products in the module ${build} does not divide a block`);
  const texts = inner.code.slice(inner.from, inner.to).map(({ text }) => text);
  return Array.from({ length: times }, () => texts).flat();
}

/**
 * All code that V8 makes while the module embeds.
 * @param {Processor} processor
 * @param {string} build
 */
function printed({ engine: key }, build) {
  const program = engine(key);
  const check = [join(REPOSITORY, "tests/emulated/check.mjs"), join(REPOSITORY, "www/pkg", build), models, "few"];
  const flags = ["--no-liftoff", "--print-wasm-code"];
  const options = { encoding: /** @type {const} */ ("latin1"), maxBuffer: 1 << 30, timeout: 600_000 };
  if (key === "x86") {
    const env = { ...process.env, EMULATED: "unsigned", SUPPORTED_AT: addressOfFeatures(program) };
    return execFileSync(program, ["--require", buildAddOn(), ...flags, ...check], { ...options, env, stdio: ["ignore", "pipe", "ignore"] });
  }
  if (!existsSync(ARM_LIBRARIES)) throw new Error("the emulator of Arm is not installed");
  return execFileSync("qemu-aarch64-static", ["-L", ARM_LIBRARIES, "-cpu", "max", program, ...flags, ...check], { ...options, stdio: ["ignore", "pipe", "ignore"] });
}

/**
 * @typedef {{ address: number, text: string }} Instruction
 */

/**
 * @param {string} printed
 * @returns {Instruction[][]}
 */
function functionsIn(printed) {
  return printed.split("--- WebAssembly code ---").slice(1).map((section) => {
    const lines = String(section.split("--- End code ---")[0]).split("\n");
    return lines.flatMap((line) => {
      const [, address, text] = /^(0x[0-9a-f]+)\s+[0-9a-f]+\s+[0-9a-f]+\s+(\S.*)$/.exec(line) ?? [];
      return address && text ? [{ address: Number(address), text: text.trim() }] : [];
    });
  });
}

/**
 * The loops of a function: what is between a jump backwards and its target.
 * @param {Instruction[]} code
 */
function loopsOf(code) {
  const places = new Map(code.map(({ address }, place) => [address, place]));
  return code.flatMap(({ address, text }, place) => {
    const target = /^(b|j)\S* .*?(0x[0-9a-f]{6,})/.exec(text)?.[2];
    const from = target && Number(target) < address ? places.get(Number(target)) : undefined;
    return from === undefined ? [] : [{ from, to: place + 1 }];
  });
}

/**
 * The cycles of a block that runs again and again, by a model of LLVM's.
 * @param {string[]} block
 * @param {string} target
 * @param {string} model
 * @returns {number | null} if LLVM is not installed, or does not know the processor or an instruction
 */
function modelled(block, target, model) {
  const ITERATIONS = 100;
  const isArm = target === "aarch64";
  // Jumps are left out, and names of registers that only V8 has are replaced.
  const lines = block
    .filter((text) => !/^(b|cb|tb|j)\S* /.test(text))
    .map((text) => text.replace(/\s*\(.*\)$/, "").replace(/\bcp\b/g, "x27").replace(/\bfp\b/g, "x29").replace(/\blr\b/g, "x30"))
    .map((text) => (isArm ? text : text.replace(/^REX\.W /, "").replace(/(0x)?([0-9a-f]+)\]/, "0x$2]")));
  const source = `${isArm ? "" : ".intel_syntax noprefix\n"}${lines.join("\n")}\n`;
  const options = [`-mtriple=${target}`, `-mcpu=${model}`, `-iterations=${ITERATIONS}`, ...(isArm ? ["-mattr=+dotprod"] : [])];
  const { status, stdout } = spawnSync("llvm-mca", options, { input: source, encoding: "utf8" });
  const cycles = /Total Cycles:\s+(\d+)/.exec(stdout ?? "")?.[1];
  return status === 0 && cycles ? Number(cycles) / ITERATIONS : null;
}
