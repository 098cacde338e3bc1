// The report of the time of an input: a pure function of what is known.

import assert from "node:assert/strict";
import { test } from "node:test";
import { computedBy, milliseconds, reportOf, stagesOf } from "../../www/page/embed/report.js";

/** @import { Computing, Surroundings } from "../../www/page/embed/report.js" */

const INFO = /** @type {Computing["info"]} */ ({ name: "ViT-B/32", type: "q8_0", size: 161_238_400 });
/** @type {Computing} */
const PROCESSOR = { device: { name: "wasm", build: "relaxed-threads", products: "signed bytes" }, threads: 8, info: INFO };
/** @type {Computing} */
const GPU = { device: { name: "webgpu", adapter: "Apple M1", build: "webgpu", products: "packed bytes" }, threads: 1, info: { ...INFO, name: null, size: null } };
/** @type {Surroundings} */
const SURROUNDINGS = { version: "0.1.0", date: new Date(0), userAgent: "Mozilla/5.0 (X11)", hardwareConcurrency: 8, crossOriginIsolated: true };

/** @type {import("../../www/clip.js").ImageTimings} */
const IMAGE = { index: 0, read: 0.004, decode: 123.4, resize: 12.34, tower: 45.678, batch: 1, waiting: 9.996, decoder: "wasm", total: 191.4 };

test("of an image", () => {
  assert.equal(
    reportOf(IMAGE, PROCESSOR, SURROUNDINGS),
    `clip-wasm: 0.1.0
date: 1970-01-01T00:00:00.000Z
model: ViT-B/32, q8_0, 161.2 MB
device: wasm
build: relaxed-threads
products: signed bytes
threads: 8
browser: Mozilla/5.0 (X11)
cores: 8
cross-origin isolated: yes
input: image
read: 0.00 ms
decode: 123 ms
resize: 12.3 ms
tower: 45.7 ms
waiting: 10.0 ms
total: 191 ms
`,
  );
  assert.equal(computedBy(PROCESSOR), "8 threads · relaxed-threads · signed bytes · ViT-B/32 · q8_0");
});

test("of a text that went through a GPU with others", () => {
  const report = reportOf({ index: 3, tower: 20, batch: 4, waiting: 1, total: 21 }, GPU, { ...SURROUNDINGS, crossOriginIsolated: false });
  for (const line of ["model: unnamed, q8_0, size unknown", "device: webgpu (Apple M1)", "cross-origin isolated: no", "input: text", "tower: 20.0 ms, for 4 texts together"]) {
    assert.ok(report.split("\n").includes(line), `${line} is not in\n${report}`);
  }
  assert.doesNotMatch(report, /decode/);
  assert.equal(computedBy(GPU), "GPU (Apple M1) · packed bytes · CLIP · q8_0");
});

test("says who decoded", () => {
  const noteOf = (/** @type {"wasm" | "browser" | null} */ decoder) => stagesOf({ ...IMAGE, decoder }).find(({ name }) => name === "decode")?.note;
  assert.deepEqual([noteOf("wasm"), noteOf("browser"), noteOf(null)], ["", "by the browser", "pixels, copied"]);
});

test("times have three digits at most", () => {
  assert.deepEqual([0, 0.126, 9.994, 9.995, 99.94, 99.95, 1234.5].map(milliseconds), ["0.00 ms", "0.13 ms", "9.99 ms", "10.0 ms", "99.9 ms", "100 ms", "1235 ms"]);
});
