// Embeds with a build of the towers' module, and prints how it multiplies and the bits of the vectors. It runs in engines
// and on processors that are emulated, so it takes the module as it is, without the library around it.
//
//     node check.mjs BUILD MODELS [few]

import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [build = "", models = ""] = process.argv.slice(2, 4).map((path) => resolve(path));
const isFew = process.argv[4] === "few";

/** @type {typeof import("../../www/pkg/simd128/clip_wasm.js")} */
const bindings = await import(pathToFileURL(join(build, "clip_wasm.js")).href);
bindings.initSync({ module: readFileSync(join(build, "clip_wasm_bg.wasm")) });

/** Texts of so many words of one token each. */
const TEXTS = (isFew ? [1, 3] : [1, 2, 3, 4, 5, 30, 100]).map((words) => "ab b a ".repeat(words).split(" ").slice(0, words).join(" "));

/** @type {Record<string, string[]>} */
const vectors = {};
for (const name of readdirSync(models).sort()) {
  const loader = new bindings.ModelLoader(new bindings.Limits());
  loader.push(readFileSync(join(models, name)));
  const encoder = loader.finish();
  const size = /** @type {number} */ (encoder.info.imageSize);
  const squares = (isFew ? [1] : [1, 2, 3]).map((seed) => Uint8Array.from({ length: 3 * size * size }, (_, i) => (i * i * seed * 31 + i) % 256));
  const embedded = [...encoder.embedTexts(TEXTS, true), ...encoder.embedSquares(squares, true)];
  vectors[name] = embedded.map((vector) => (vector instanceof Error ? vector.message : Buffer.from(vector.buffer).toString("base64")));
  encoder.free();
}
console.log(JSON.stringify({ products: bindings.products(), vectors }));
