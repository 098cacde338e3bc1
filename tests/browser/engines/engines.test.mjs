// The same list of end-to-end tests in Chromium, Firefox and WebKit, which must all give the same vectors.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { record } from "../../reliability/record.mjs";
import { EMBEDDING } from "./embedding.mjs";
import { Engine, ENGINES, whyNot, within } from "./engine.mjs";
import { assertClose } from "./expected.mjs";
import { FAULTS } from "./faults.mjs";
import { KEEPING } from "./keeping.mjs";
import { VIEWS } from "./views.mjs";
import { Visit } from "./visit.mjs";

/** @import { EngineName } from "./engine.mjs" */
/** @import { Case, Facts } from "./visit.mjs" */

const CASES = [...EMBEDDING, ...KEEPING, ...VIEWS, ...FAULTS];
/**
 * With these engines a failed test is tried once more in a new browser, and the report says so: on a busy machine,
 * WebKitGTK stopped responding in 3 of 300 tests.
 * @type {EngineName[]}
 */
const UNSTEADY = ["webkit"];
/** Milliseconds for a test, by default. */
const LIMIT = 60_000;

/** @type {Map<EngineName, Facts>} of the engines that have passed them all */
const passed = new Map();
const folder = mkdtempSync(join(tmpdir(), "clip-wasm-engines-"));
after(() => rmSync(folder, { recursive: true }));

/**
 * @param {string} name
 * @param {string | Buffer} contents
 * @returns {string} the path of such a file
 */
function scratch(name, contents) {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

for (const engineName of ENGINES) {
  const reason = whyNot(engineName);
  describe(engineName, { skip: reason ?? false }, () => {
    /** @type {Engine} */
    let engine;
    /** @type {Facts} */
    const facts = {};
    let count = 0;
    let again = 0;
    /** @param {Case} test */
    const attempt = async ({ options = {}, expectedComplaint, run }) => {
      const visit = await Visit.open(engine, options);
      /** @type {string[]} */
      let complaints = [];
      try {
        await run({ visit, engine, facts, scratch });
      } finally {
        complaints = await visit.end();
      }
      const unexpected = complaints.filter((complaint) => !expectedComplaint?.test(complaint));
      assert.deepEqual(unexpected, [], "the console stays empty");
    };
    before(async () => {
      engine = await Engine.start(engineName);
    });
    after(async () => {
      await engine?.close();
      if (count < CASES.length) return;
      passed.set(engineName, facts);
      const { title } = engine;
      const tried = `${count} end-to-end tests${again > 0 ? `, ${again} of them at the second try` : ""}`;
      record({ section: "engines", what: title, tried, outcome: outcomeOf(facts) });
    });
    for (const given of CASES) {
      const { name, timeout = LIMIT } = given;
      test(name, async (t) => {
        try {
          await within(timeout, name, attempt(given));
        } catch (error) {
          if (!UNSTEADY.includes(engineName)) throw error;
          t.diagnostic(`tried again in a new browser, for ${error}`);
          again++;
          await engine.close();
          engine = await Engine.start(engineName);
          await within(timeout, name, attempt(given));
        }
        count++;
      });
    }
  });
}

test("all engines give the same vectors", { skip: ENGINES.every((name) => whyNot(name) === null) ? false : "an engine is missing" }, () => {
  const [first, ...others] = ENGINES.map((name) => {
    const vectors = passed.get(name)?.vectors;
    assert.ok(vectors, `${name} has failed`);
    return vectors;
  });
  for (const vectors of others) assertClose(vectors, first ?? []);
});

/** @param {Facts} facts */
function outcomeOf({ difference, build, threads, keptIn, seconds, secondsKept, memory }) {
  return [
    difference === 0 ? "vectors equal to the command line's" : `vectors within ${difference?.toExponential(0)} of the command line's`,
    `build ${build}, ${threads === 1 ? "1 thread" : `${threads} threads`}`,
    `weights kept in ${keptIn}`,
    `a ViT-B/32 in q8_0 loads in ${seconds?.toFixed(1)} s, from what is kept in ${secondsKept?.toFixed(1)} s, and takes ${((memory ?? 0) / 1e6).toFixed(0)} MB`,
  ].join("; ");
}
