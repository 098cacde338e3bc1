// Runs fuzz targets, two at a time, and records how much they have run.
//
//     node fuzz/run.mjs FOLDER_OF_TARGETS SECONDS TARGET...

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { FACTS, record } from "../tests/reliability/record.mjs";

const [folder = "", seconds = "", ...targets] = process.argv.slice(2);
const FUZZ = import.meta.dirname;
const WORK = resolve(FUZZ, "../target/fuzz");
/** Executions and seconds of each target, in all runs so far. */
const TRIED = resolve(FACTS, "../fuzz.json");
const AT_ONCE = 2;
/** Longer than any seed, but short enough for a found input to be understood. */
const MOST_BYTES = 1 << 16;
/** The timeout is long because of the sanitizer and debug assertions: without them, it would be a second or two. */
const LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=2048"];

/** @typedef {{ executions: number, seconds: number }} Tried */

const waiting = [...targets];
let failed = 0;
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let target = waiting.shift(); target; target = waiting.shift()) if (!(await fuzz(target))) failed += 1;
}));
process.exitCode = failed ? 1 : 0;

/**
 * @param {string} target
 * @returns {Promise<boolean>} whether it found nothing
 */
async function fuzz(target) {
  const [corpus, artifacts] = [join(WORK, "corpus", target), join(FUZZ, "artifacts", target)];
  for (const made of [corpus, artifacts]) mkdirSync(made, { recursive: true });
  const before = new Set(readdirSync(artifacts));
  const binary = join(folder, target);
  const { log, code } = await run(binary, [
    corpus,
    join(WORK, "seeds", target),
    `-dict=${join(FUZZ, "dictionaries", `${target}.dict`)}`,
    `-artifact_prefix=${artifacts}/`,
    `-max_total_time=${seconds}`,
    `-max_len=${MOST_BYTES}`,
    "-print_final_stats=1",
    ...LIMITS,
  ]);
  const executions = Number(/number_of_executed_units: (\d+)/.exec(log)?.[1] ?? 0);
  const cpu = /^cpu ([\d.]+) ([\d.]+)$/m.exec(log)?.slice(1).map(Number) ?? [0];
  const coverage = log.match(/cov: \d+ ft: \d+/g)?.at(-1) ?? "no coverage";
  const inputs = readdirSync(corpus).length;
  const all = sum(target, { executions, seconds: cpu.reduce((total, part) => total + part) });
  const tried = `${all.executions.toLocaleString("en")} executions in ${Math.round(all.seconds).toLocaleString("en")} s of CPU`;
  console.log(`${target}: ${executions.toLocaleString("en")} executions, ${coverage}, ${inputs} inputs in the corpus; in all runs ${tried}`);
  if (code === 0 && executions > 0) {
    record({ section: "fuzz", what: target, tried, outcome: `no crash; ${inputs.toLocaleString("en")} inputs in the corpus` });
    return true;
  }
  console.log(log.split("\n").slice(-60).join("\n"));
  for (const found of readdirSync(artifacts).filter((name) => !before.has(name))) {
    const file = relative(process.cwd(), join(artifacts, found));
    console.log(`${target}: found ${file}; to reproduce it: ${relative(process.cwd(), binary)} ${file}`);
  }
  return false;
}

/**
 * @param {string} target
 * @param {Tried} now
 * @returns {Tried} in all runs, including this one
 */
function sum(target, now) {
  /** @type {Record<string, Tried>} */
  const all = existsSync(TRIED) ? JSON.parse(readFileSync(TRIED, "utf8")) : {};
  const before = all[target] ?? { executions: 0, seconds: 0 };
  const tried = { executions: before.executions + now.executions, seconds: before.seconds + now.seconds };
  writeFileSync(TRIED, `${JSON.stringify({ ...all, [target]: tried }, null, 2)}\n`);
  return tried;
}

/**
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<{ log: string, code: number | null }>} the log's last line has the seconds of CPU
 */
function run(program, args) {
  const timed = ["-c", 'TIMEFORMAT="cpu %U %S"; time "$@"', "timed", program, ...args];
  const child = spawn("bash", timed, { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  return new Promise((done) => child.on("close", (code) => done({ log, code })));
}
