// Facts for docs/reliability.md, recorded by the tests that have just shown them.

import { appendFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * @typedef {object} Fact
 * @property {"faults" | "inputs" | "fuzz" | "life" | "engines" | "processors" | "hosts"} section
 * @property {string} what the fact's name: a later fact with the same section and name replaces it
 * @property {string} tried how often or how much, in words and numbers
 * @property {string} outcome the result
 */

const REPOSITORY = resolve(import.meta.dirname, "../..");
export const FACTS = join(resolve(REPOSITORY, process.env.CLIP_TEST_DATA ?? "target/test-data"), "reliability.jsonl");

/** @param {Fact} fact to record after everything that it says has been asserted */
export function record({ section, what, tried, outcome }) {
  appendFileSync(FACTS, `${JSON.stringify({ section, what, tried, outcome })}\n`);
}
