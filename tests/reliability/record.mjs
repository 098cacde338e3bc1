// Facts for docs/reliability.md, noted down by the tests that have just shown them.

import { appendFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * @typedef {object} Fact
 * @property {"faults" | "inputs" | "fuzz" | "life" | "engines" | "hosts"} section
 * @property {string} what names the fact: a later one of the same section and name replaces it
 * @property {string} tried how much of it, in words and figures
 * @property {string} outcome what came of it
 */

const REPOSITORY = resolve(import.meta.dirname, "../..");
export const FACTS = join(resolve(REPOSITORY, process.env.CLIP_TEST_DATA ?? "target/test-data"), "reliability.jsonl");

/** @param {Fact} fact once everything that it says has been asserted */
export function record({ section, what, tried, outcome }) {
  appendFileSync(FACTS, `${JSON.stringify({ section, what, tried, outcome })}\n`);
}
