// The house rules of docs/architecture.md: imports point down, types included; nothing imports in a circle; no file is
// longer than a reader takes in at once.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { GENERATED } from "../../packaging/generated.mjs";
import { REPOSITORY } from "../browser/support/browser.mjs";

const WWW = join(REPOSITORY, "www");
const MOST_LINES = 400;

/**
 * Each folder, or file, of www/ with those that it may import beside itself. The client speaks to workers by messages
 * alone.
 * @type {[RegExp, RegExp][]}
 */
const LAYERS = [
  [/^lib\/shared\//, /^$/],
  [/^lib\/engine\//, /^lib\/shared\//],
  [/^lib\/store\//, /^lib\/shared\//],
  [/^lib\/weights\//, /^lib\/(shared|store)\//],
  [/^lib\/worker\//, /^lib\/(shared|engine|store|weights)\//],
  // The types of what computes in this context, instead of in a worker.
  [/^lib\/client\/in-place-worker\.js$/, /^lib\/shared\/|^lib\/worker\/(in-place|message-loop)\.js$/],
  [/^lib\/client\//, /^lib\/shared\//],
  [/^lib\/node\//, /^lib\/shared\//],
  [/^clip\.js$/, /^lib\/(shared|client|store)\//],
  [/^endpoint\.js$/, /^clip\.js$|^lib\/(shared|client)\//],
  [/^node\.js$/, /^clip\.js$|^lib\/(shared|client|node)\/|^lib\/worker\/in-place\.js$/],
  [/^node-in-place\.js$/, /^node\.js$|^lib\/shared\//],
  [/^in-place\.js$/, /^clip\.js$|^lib\/(client|worker|engine|shared)\//],
  [/^sw\.js$/, /^$/],
  [/^page\/shell\//, /^(clip|endpoint)\.js$|^lib\/shared\//],
  [/^page\/model\//, /^clip\.js$|^lib\/shared\/|^page\/shell\//],
  [/^page\/search\/(vector|thumbnail)-worker\.js$/, /^page\/search\/(matrix|vectors|thumbnail)\.js$|^lib\/worker\/message-loop\.js$/],
  [/^page\/(embed|search|check)\//, /^clip\.js$|^lib\/(shared|client)\/|^page\/(shell|model)\//],
  [/^main\.js$/, /^page\//],
];

const scripts = filesIn(WWW, /\.js$/).filter((path) => !path.startsWith("pkg/"));
const imports = new Map(scripts.map((path) => [path, importsOf(path)]));

test("imports of the page's JavaScript point down", () => {
  const wrong = [];
  for (const [path, imported] of imports) {
    const layer = LAYERS.find(([own]) => own.test(path));
    assert.ok(layer, `${path} is in no layer`);
    const [own, below] = layer;
    for (const target of imported) if (!own.test(target) && !below.test(target)) wrong.push(`${path} imports ${target}`);
  }
  assert.deepEqual(wrong, []);
});

test("they make no circle", () => {
  assert.deepEqual(circles(imports), []);
});

test("the crate's modules make no circle, and only src/wasm knows JavaScript", () => {
  const files = filesIn(join(REPOSITORY, "src"), /\.rs$/);
  /** The folders and files right below src/, as their first names. @type {Map<string, Set<string>>} */
  const used = new Map();
  const knowing = [];
  for (const path of files) {
    const source = withoutTests(readFileSync(join(REPOSITORY, "src", path), "utf8"));
    if (!/^wasm(\/|\.rs$)/.test(path) && /\b(wasm_bindgen|js_sys|web_sys)::/.test(source)) knowing.push(path);
    const own = String(path.split(/[/.]/)[0]);
    if (own === "lib" || own === "bin") continue;
    const names = [...source.matchAll(/\bcrate::([a-z_]+)/g)].map(([, name]) => String(name));
    used.set(own, new Set([...(used.get(own) ?? []), ...names.filter((name) => name !== own)]));
  }
  assert.deepEqual(knowing, []);
  assert.deepEqual(circles(new Map([...used].map(([name, set]) => [name, [...set]]))), []);
});

test(`no file has more than ${MOST_LINES} lines`, () => {
  const sources = ["src", "www", "tests", "packaging", "benches", "fuzz", "examples"].flatMap((folder) =>
    filesIn(join(REPOSITORY, folder), /\.(rs|m?js|sh|py)$/).map((path) => `${folder}/${path}`),
  );
  const long = sources
    .filter((path) => !/^www\/pkg\/|\/target\/|node_modules/.test(path))
    .map((path) => ({ path, lines: readFileSync(join(REPOSITORY, path), "utf8").split("\n").length - 1 }))
    .filter(({ lines }) => lines > MOST_LINES)
    .map(({ path, lines }) => `${path}: ${lines}`);
  assert.deepEqual(long, []);
});

/**
 * @param {string} folder
 * @param {RegExp} pattern
 * @returns {string[]} paths relative to the folder
 */
function filesIn(folder, pattern) {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return paths.filter((path) => pattern.test(path));
}

/**
 * @param {string} path of a script in www/
 * @returns {string[]} what it imports, by `import`, `import()` and in types
 */
function importsOf(path) {
  // Not the list of all modules below, which packaging/imports.mjs writes.
  const source = readFileSync(join(WWW, path), "utf8").replace(GENERATED, "");
  const found = source.matchAll(/(?:from |import\(|import )"(\.{1,2}\/[^"]+)"/g);
  const targets = [...found].map(([, target]) => relative(WWW, resolve(dirname(join(WWW, path)), String(target))));
  return [...new Set(targets)].filter((target) => !target.startsWith("pkg/"));
}

/** @param {string} source of a Rust file, whose tests may use anything */
function withoutTests(source) {
  return source.replace(/#\[cfg\(test\)\]\s*mod tests \{[^]*$/, "").replace(/^\s*\/\/.*$/gm, "");
}

/**
 * @param {Map<string, string[]>} graph
 * @returns {string[]} a way round for each circle that is found
 */
function circles(graph) {
  /** @type {string[]} */
  const found = [];
  const done = new Set();
  const visit = (/** @type {string} */ name, /** @type {string[]} */ way) => {
    const at = way.indexOf(name);
    if (at >= 0) {
      found.push([...way.slice(at), name].join(" -> "));
      return;
    }
    if (done.has(name)) return;
    for (const next of graph.get(name) ?? []) visit(next, [...way, name]);
    done.add(name);
  };
  for (const name of graph.keys()) visit(name, []);
  return found;
}
