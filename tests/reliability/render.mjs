// docs/reliability.md, made of the facts that the tests noted down: node tests/reliability/render.mjs OUT

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { FACTS } from "./record.mjs";

/** @import { Fact } from "./record.mjs" */

/** @type {Record<Fact["section"], { title: string, about: string, what: string }>} in the order of the document */
const SECTIONS = {
  faults: {
    title: "Faults survived",
    about: "What can happen to servers, storage, memory and workers while the page runs. After each the test goes on with the same page or encoder and gets the right vector.",
    what: "Fault",
  },
  inputs: {
    title: "Bad inputs refused",
    about: "Each is answered with an error that has a stable code and says what to do, and the next good input gives the right vector.",
    what: "Input",
  },
  fuzz: {
    title: "Fuzzing",
    about: "Every change tries the seeds of each target. `./build.sh fuzz` goes on from them with random and mutated bytes, coverage telling which to keep, in builds that check every addition and every memory access; where it has run since, its executions are summed over all runs on this machine.",
    what: "Target",
  },
  life: {
    title: "Long life",
    about: "What an encoder and a page hold after much use. Figures are bytes of memory unless they say otherwise.",
    what: "Use",
  },
  engines: {
    title: "Engines",
    about: "The same tests from end to end, through WebDriver, in each.",
    what: "Engine",
  },
  hosts: {
    title: "Hosts",
    about: "Where the page was served from or put into, in Chromium.",
    what: "Host",
  },
};

/**
 * The last fact of each name.
 * @param {string} lines
 * @returns {Fact[]}
 */
function lastOfEach(lines) {
  /** @type {Map<string, Fact>} */
  const facts = new Map();
  for (const line of lines.split("\n").filter(Boolean)) {
    const fact = /** @type {Fact} */ (JSON.parse(line));
    if (!(fact.section in SECTIONS)) throw new Error(`no section is called ${fact.section}: ${line}`);
    facts.set(`${fact.section} ${fact.what}`, fact);
  }
  return [...facts.values()];
}

/** @param {string} text */
const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** @param {string[]} cells */
const row = (cells) => `| ${cells.map(cell).join(" | ")} |`;

/**
 * @param {Fact["section"]} section
 * @param {Fact[]} facts of all sections
 */
function render(section, facts) {
  const { title, about, what } = SECTIONS[section];
  const own = facts.filter((fact) => fact.section === section).sort((a, b) => a.what.localeCompare(b.what, "en"));
  if (own.length === 0) throw new Error(`the tests noted nothing down for "${title}": run the whole of ./build.sh test`);
  const rows = own.map((fact) => row([fact.what, fact.tried, fact.outcome]));
  return [`## ${title}`, "", about, "", row([what, "Tried", "Outcome"]), "|---|---|---|", ...rows, ""];
}

const [out] = process.argv.slice(2);
if (!out) throw new Error("usage: node tests/reliability/render.mjs OUT");
const facts = lastOfEach(readFileSync(FACTS, "utf8"));
const processor = cpus()[0]?.model ?? "unknown processor";
const rust = execFileSync("rustc", ["--version"], { encoding: "utf8" }).trim();
const sections = /** @type {Fact["section"][]} */ (Object.keys(SECTIONS));
const document = [
  "# Reliability",
  "",
  "Made by `./build.sh reliability` of what the tests showed when they last ran; every row is written by the test that has just asserted it. What is promised, and what is not, stands in [SECURITY.md](../SECURITY.md); what a file may ask for, in [limits.md](limits.md).",
  "",
  `${cpus().length} cores of ${processor}, Node ${process.version}, ${rust}.`,
  "",
  ...sections.flatMap((section) => render(section, facts)),
].join("\n");
writeFileSync(out, document);
console.log(`${out}: ${facts.length} facts`);
