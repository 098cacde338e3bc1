// Options that are no such options: each is refused with a message that names it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Site } from "../support/browser.mjs";
import { pageWithEncoder, written } from "../support/loads.mjs";

/** @import { Page } from "playwright-core" */

/** @type {Site} */
let site;
/** @type {Page} */
let page;
/** @type {(() => Promise<void>)[]} */
const ends = [];

before(async () => {
  site = await Site.open();
  page = await pageWithEncoder(site, { after: (end) => void ends.push(/** @type {() => Promise<void>} */ (end)) });
});
after(async () => {
  for (const end of ends) await end();
  await site.close();
});

for (const [call, message] of /** @type {[(globals: any) => Promise<unknown>, string][]} */ ([
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", null), "the options are null, not an object"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", 7), "the options are a number, not an object"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { type: "q9" }), 'type is "q9"; choose one of "q8_0", "f16", "f32", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0", "q3_k", "q2_k", "bf16"'],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { mirrors: "https://example.org/any.gguf" }), "mirrors is a string, not a list of URLs"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { mirrors: [7] }), "expected a URL or a file, but got a number"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { idleTimeout: 0 }), "idleTimeout is 0, not a number of milliseconds from 1 to 2147483647"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { idleTimeout: "20" }), "idleTimeout is a string, not a number of milliseconds from 1 to 2147483647"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { idleTimeout: Infinity }), "idleTimeout is Infinity, not a number of milliseconds from 1 to 2147483647"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { onProgress: true }), "onProgress is a boolean, not a function"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { onWarning: null }), "onWarning is null, not a function"],
  [({ ClipEncoder }) => ClipEncoder.load("any.gguf", { signal: new AbortController() }), "signal is a value of type AbortController, not an AbortSignal, such as that of an AbortController"],
  [({ clip }) => clip.loadTowers(["text"], { onProgress: 7 }), "onProgress is 7, not a function"],
  [({ clip }) => clip.loadTowers(["text"], null), "the options are null, not an object"],
  [({ clip }) => clip.embedText(["a"], null), "the options are null, not an object"],
  [({ clip }) => clip.embedText(["a"], { normalize: "no" }), "normalize is a string, not true or false"],
  [({ clip }) => clip.embedText(["a"], { signal: {} }), "signal is a value of type Object, not an AbortSignal, such as that of an AbortController"],
  [({ clip, cat }) => clip.embedImage([cat], null), "the options are null, not an object"],
  [({ clip, cat }) => clip.embedImage([cat], { normalize: 0 }), "normalize is 0, not true or false"],
  [({ clip, cat }) => clip.embedImage([cat], { onProgress: {} }), "onProgress is a value of type Object, not a function"],
  [({ clip, cat }) => clip.embedImage([cat], { onTimings: true }), "onTimings is a boolean, not a function"],
  [({ clip }) => clip.embedText(["a"], { onTimings: {} }), "onTimings is a value of type Object, not a function"],
  [({ clip, cat }) => clip.embedEach([cat], { onTimings: "told" }).next(), "onTimings is a string, not a function"],
  [({ clip, cat }) => clip.embedImage([cat], { alpha: "grey" }), 'alpha is "grey"; choose one of "drop", "white", "black"'],
  [({ clip, cat }) => clip.embedEach([cat], null).next(), "the options are null, not an object"],
  [({ clip, cat }) => clip.embedEach([cat], { normalize: null }).next(), "normalize is null, not true or false"],
  [({ clip, cat }) => clip.classify([cat], ["a"], null), "the options are null, not an object"],
  [({ clip, cat }) => clip.classify([cat], ["a"], { normalize: "yes" }), "normalize is a string, not true or false"],
  [({ clip, cat }) => clip.classify([cat], ["a"], { onProgress: "told" }), "onProgress is a string, not a function"],
  [({ clip }) => clip.tokenize(["a"], null), "the options are null, not an object"],
  [({ clip }) => clip.tokenize(["a"], { signal: true }), "signal is a boolean, not an AbortSignal, such as that of an AbortController"],
])) {
  test(`${written(call)}: invalid_input`, async () => {
    assert.equal(await page.evaluate(`told((${call})(window))`), `invalid_input: ${message}`);
  });
}

test("options that are undefined have their defaults", async () => {
  const options = { normalize: undefined, onProgress: undefined, onTimings: undefined, signal: undefined };
  const [given, wanted] = await page.evaluate(async (options) => {
    const { clip, cat } = window;
    return Promise.all([options, {}].map(async (options) => [await clip.embedText(["a"], options), await clip.embedImage([cat], options)]));
  }, options);
  assert.deepEqual(given, wanted);
});
