// The tiny model on a server that can misbehave, and the vectors that it must give.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY, Site, TINY_MODEL } from "./browser.mjs";
import { assertVectors, load, vectorsOf } from "./loads.mjs";
import { status } from "./server.mjs";

/** @import { Page } from "playwright-core" */
/** @import { Outcome, Vectors } from "./loads.mjs" */
/** @import { PartFaults } from "./server.mjs" */

export const OTHER_MODEL = join(REPOSITORY, "www/models/demo.gguf");
/** The tiny model's path. Tests also serve other files there. */
export const MODEL = "/m.gguf";

export async function openWeights() {
  const site = await Site.open();
  const right = await vectorsOf(site, () => site.hub.parts("/tiny.gguf", TINY_MODEL));
  const otherRight = await vectorsOf(site, () => site.hub.parts("/other.gguf", OTHER_MODEL));
  assert.notDeepEqual(right, otherRight);

  /**
   * @param {Outcome} outcome
   * @param {Vectors} [expected]
   */
  function assertRight(outcome, expected = right) {
    assertVectors(outcome, expected);
  }

  /**
   * Checks that the stored model is complete and valid: it loads without a server.
   * @param {Page} page
   * @param {string} url
   * @param {Vectors} [expected]
   */
  async function assertKept(page, url, expected = right) {
    site.hub.answer(MODEL, status(404));
    assertRight(await load(page, url), expected);
  }

  /** @param {PartFaults} [faults] */
  const serve = (faults) => site.hub.parts(MODEL, TINY_MODEL, faults);

  const sha256 = createHash("sha256").update(readFileSync(TINY_MODEL)).digest("hex");
  return { site, size: statSync(TINY_MODEL).size, sha256, right, otherRight, assertRight, assertKept, serve };
}
