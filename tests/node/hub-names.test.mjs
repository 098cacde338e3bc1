// Names and addresses of models on the Hub, and which file of a repository is loaded.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { chooseFile } from "../../www/lib/client/hub-files.js";
import { codeOf } from "../../www/lib/shared/error.js";
import { fileUrl, hubModelOf } from "../../www/lib/shared/hub.js";

const REPOSITORY = "openai/clip-vit-base-patch32";
const NAME = { host: "https://huggingface.co", repository: REPOSITORY, revision: "main", file: null };

/** @typedef {Parameters<typeof chooseFile>[1]} Wanted */
/** @typedef {{ what: string, paths: string[], wanted?: Wanted, about?: object }} Choice */

/**
 * The command line, which is written in Rust, is tested with the same table. A `null` in it is no name, but the path or
 * the address of a file; `commandLine` differs.
 * @type {{
 *   names: { source: string, options?: { host?: string, revision?: string }, wanted: object | null }[],
 *   wrongNames: { source: string, options?: object, code: string, says: string }[],
 *   choices: (Choice & { path: string })[],
 *   nothing: (Choice & { code: string, says: string })[],
 * }}
 */
const TABLE = JSON.parse(readFileSync(new URL("../fixtures/hub-names.json", import.meta.url), "utf8"));

describe("a source", () => {
  for (const { source, options = {}, wanted } of TABLE.names) {
    test(`${JSON.stringify(source)} ${JSON.stringify(options)}`, () => assert.deepEqual(hubModelOf(source, options), wanted && { ...NAME, ...wanted }));
  }
  for (const { source, options = {}, code, says } of TABLE.wrongNames) {
    test(`${JSON.stringify(source)} ${JSON.stringify(options)} is refused`, () => {
      assert.throws(() => hubModelOf(source, options), (error) => codeOf(error) === code && String(error).includes(says));
    });
  }
});

test("a file's URL has the revision and the path encoded", () => {
  assert.equal(fileUrl({ ...NAME, revision: "refs/pr/3" }, "a folder/model#1.gguf"), `https://huggingface.co/${REPOSITORY}/resolve/refs%2Fpr%2F3/a%20folder/model%231.gguf`);
});

describe("of a repository is loaded", () => {
  const repository = (/** @type {string[]} */ paths, /** @type {object} */ about = {}) => ({
    name: "owner/name",
    files: paths.map((path) => ({ path, size: 7 })),
    modelType: "clip",
    baseModels: [],
    ...about,
  });
  for (const { what, paths, wanted = {}, about, path } of TABLE.choices) {
    test(what, () => assert.deepEqual(chooseFile(repository(paths, about), wanted), { path, size: path.endsWith(".json") ? null : 7 }));
  }
  for (const { what, paths, wanted = {}, about, code, says } of TABLE.nothing) {
    test(`nothing: ${what}`, () => {
      assert.throws(() => chooseFile(repository(paths, about), wanted), (error) => codeOf(error) === code && String(error).includes(says));
    });
  }
});

test("the page's menu: each model's revision is fixed where it is known, and its size and language are told", () => {
  /** @type {{ name: string, url: string, size?: number, keptSize?: number, description: string, builtIn?: boolean }[]} */
  const entries = JSON.parse(readFileSync(new URL("../../www/models.json", import.meta.url), "utf8"));
  /** Of the first of these only the beginning of its commit is known. */
  const NOT_FIXED = [
    "mys/ggml_CLIP-ViT-L-14-laion2B-s32B-b82K", "google/siglip2-base-patch16-224", "google/siglip2-base-patch32-256",
  ].map((name) => `https://huggingface.co/${name}`);
  for (const { name, url, size, keptSize, description, builtIn } of entries) {
    assert.ok(size ?? keptSize, name);
    if (builtIn) continue;
    assert.match(description, /(English texts|Texts in a hundred languages)\.$/, name);
    const revision = hubModelOf(url, {})?.revision ?? /\/resolve\/([^/]+)\//.exec(url)?.[1];
    assert.match(String(revision), NOT_FIXED.includes(url) ? /^main$/ : /^[0-9a-f]{40}$/, name);
  }
  assert.match(String(entries[1]?.name), /^TinyCLIP/, "the first of the real world is the smallest");
});
