// Writes generated code into www/sw.js: the list of the page's files, and constants of the library. A service worker is
// one classic script, which cannot import them.
//
//   node packaging/service-worker.mjs           writes them
//   node packaging/service-worker.mjs --check   fails if they are out of date

import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { importsOf } from "./bundles.mjs";
import { putGenerated, WWW } from "./generated.mjs";
import { RELAXED_DOT } from "../www/lib/engine/relaxed-simd.js";
import { ENDPOINT_PATHS } from "../www/lib/shared/endpoint-paths.js";
import { SHARING } from "../www/page/shell/sharing.js";

/** Not files of the page: what ./build.sh makes, which sw.js lists itself; files for hosts and readers. */
const ELSEWHERE = /^(pkg\/|_headers$|index\.html$|.*\.md$)/;
/** The page's scripts, and the API for other pages of the site. What they import is found from them. */
const SCRIPTS = ["main.js", "page/shell/start.js", "page/search/vector-worker.js", "page/search/thumbnail-worker.js", "clip.js", "endpoint.js"];
/** Models that a host has added to www/models. Only the demo model is part of the page. */
const OWN_MODEL = /^models\/(?!demo\.gguf$)/;
/** Files that few visitors need: stored when they are first requested. */
const LATER = /^check\//;

const scripts = (await Promise.all(SCRIPTS.map((path) => importsOf(path, { dynamic: true })))).flat().concat(SCRIPTS);
const files = readdirSync(WWW, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(WWW.length + 1).replaceAll("\\", "/"))
  .filter((path) => !ELSEWHERE.test(path) && !OWN_MODEL.test(path) && (!path.endsWith(".js") || scripts.includes(path)))
  .sort();

putGenerated(join(WWW, "sw.js"), generated());

function generated() {
  const page = ["./", ...files.filter((path) => !LATER.test(path))];
  const later = files.filter((path) => LATER.test(path));
  const { openAi, models, model } = ENDPOINT_PATHS;
  return [
    "/** The page's files, except the wasm modules. */",
    `const PAGE = ${list(page)};`,
    "/** Files that few visitors need: stored when they are first requested. */",
    `const LATER = ${list(later)};`,
    "/** A module that is valid only with relaxed SIMD, to find out which builds run: see lib/engine/relaxed-simd.js. */",
    `const RELAXED_DOT = new Uint8Array([${[...RELAXED_DOT].join(", ")}]);`,
    "/** The paths of the endpoint, and OpenAI's, relative to this worker's scope. */",
    `const ENDPOINT = /^(${escaped(Object.values(ENDPOINT_PATHS).join("|"))})\\/?$/;`,
    `const OPENAI_ENDPOINT = /^(${escaped([openAi, models, model].join("|"))})\\/?$/;`,
    "/** How what is shared is passed on to the page: see page/shell/sharing.js. */",
    `const SHARING = ${JSON.stringify(SHARING)};`,
    "",
  ].join("\n");
}

/**
 * A list with a line for each folder.
 * @param {string[]} paths sorted
 */
function list(paths) {
  /** @type {Map<string, string[]>} */
  const lines = new Map();
  for (const path of paths) lines.set(dirname(path), [...(lines.get(dirname(path)) ?? []), path]);
  return `[\n${[...lines.values()].map((line) => `  ${line.map((path) => JSON.stringify(path)).join(", ")},\n`).join("")}]`;
}

/** @param {string} pattern that will be put between slashes */
function escaped(pattern) {
  return pattern.replace(/(?<!\[\^)\//g, "\\/");
}
