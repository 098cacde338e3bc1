// The command line's vectors for the inputs of these tests. Every engine's must be equal to them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PHOTOS, REPOSITORY, TEST_DATA } from "../support/browser.mjs";
import { largestDifference } from "../support/vectors.mjs";

const COMMAND_LINE = process.env.CLIP_WASM ?? join(REPOSITORY, "target/release/clip-wasm");
const FILES = join(REPOSITORY, "tests/fixtures/images");

/** A difference of a component up to this size counts as none. */
export const TOLERANCE = 1e-4;
export const CAPTIONS = ["a photo of a cat", "привет, 世界 😀"];
/** JPEG, PNG, WebP and GIF. */
export const PICTURES = [join(PHOTOS, "rocket.jpg"), join(PHOTOS, "horse.png"), join(FILES, "lossy.webp"), join(FILES, "animated.gif")];
export const TINY = "tiny-gelu.q8_0.gguf";
export const FULL_SIZE = "vit-b-32-gelu.q8_0.gguf";

/**
 * @param {string} model of the test data
 * @param {{ texts: string[], images: string[] }} inputs
 * @returns {number[][]} texts first
 */
export function commandLine(model, { texts, images }) {
  const inputs = [...texts.flatMap((text) => ["--text", text]), ...images.flatMap((path) => ["--image", path])];
  const output = execFileSync(COMMAND_LINE, ["embed", "--model", join(TEST_DATA, model), ...inputs], { encoding: "utf8", maxBuffer: 1 << 26 });
  return JSON.parse(output).data;
}

/**
 * The tiny model's vectors, which the command line wrote for `tests/data.sh`: of two texts, with an empty one between
 * them, and of two photos.
 */
export function writtenVectors() {
  /** @type {number[][]} */
  const vectors = JSON.parse(readFileSync(join(TEST_DATA, "tiny-gelu.q8_0.json"), "utf8")).data;
  return vectors.filter((_, index) => index !== 1);
}

/**
 * @param {number[][]} vectors
 * @param {number[][]} expected
 * @returns {number} the largest difference of a component
 */
export function assertClose(vectors, expected) {
  assert.equal(vectors.length, expected.length);
  const differences = vectors.map((vector, i) => largestDifference(vector, expected[i] ?? []));
  const largest = Math.max(...differences);
  assert.ok(largest <= TOLERANCE, `vectors are up to ${differences.map((difference) => difference.toExponential(1)).join(", ")} off`);
  return largest;
}
