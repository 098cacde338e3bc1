// Makes pkg/, the package for npm: the API's files from www/ with their types, and the wasm modules.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { build } from "esbuild";

const REPOSITORY = resolve(import.meta.dirname, "..");
const WWW = join(REPOSITORY, "www");
const PACKAGE = join(REPOSITORY, "pkg");

/** The public files. The modules that they import are in lib/, and the wasm modules in pkg/. */
const ENTRIES = ["clip.js", "node.js", "endpoint.js", "in-place.js", "node-in-place.js", "sw.js"];
/** Scripts of workers and threads. They export nothing: they are run for their side effects. */
const STARTED = ["lib/worker/model-worker.js", "lib/worker/picture-worker.js", "pkg/workers/*.js", "lib/engine/wasm-thread.js", "lib/node/browser-surroundings.js"];
const DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

rmSync(PACKAGE, { recursive: true, force: true });
for (const path of [...ENTRIES, ...scriptsIn("lib"), ...scriptsIn("pkg")]) {
  copy(join(WWW, path), path);
  if (!path.startsWith("pkg/") || path.startsWith("pkg/workers/")) continue;
  const folder = dirname(path);
  copy(join(WWW, folder, "clip_wasm_bg.wasm"), join(folder, "clip_wasm_bg.wasm"));
  const types = readFileSync(join(WWW, folder, "clip_wasm.d.ts"), "utf8");
  // `Symbol.dispose` is newer than the settings of most projects, and than TypeScript 5.0.
  writeFileSync(join(PACKAGE, folder, "clip_wasm.d.ts"), types.replace(/^.*\[Symbol\.dispose\].*\n/gm, ""));
}
for (const name of DOCUMENTS) copy(join(REPOSITORY, name), name);
execFileSync(join(REPOSITORY, "node_modules/.bin/tsc"), ["--project", join(import.meta.dirname, "tsconfig.types.json")], { stdio: "inherit" });
finishTypes();
await makeCommonJs();
writeFileSync(join(PACKAGE, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`);

/**
 * @param {string} folder of www/
 * @returns {string[]} the paths of its JavaScript files
 */
function scriptsIn(folder) {
  if (!existsSync(join(WWW, folder))) throw new Error(`www/${folder} is missing: run ./build.sh first`);
  const paths = readdirSync(join(WWW, folder), { recursive: true, encoding: "utf8" });
  return paths.filter((path) => path.endsWith(".js")).map((path) => join(folder, path));
}

/**
 * @param {string} from
 * @param {string} to in the package
 */
function copy(from, to) {
  if (!existsSync(from)) throw new Error(`${relative(REPOSITORY, from)} is missing: run ./build.sh first`);
  mkdirSync(dirname(join(PACKAGE, to)), { recursive: true });
  copyFileSync(from, join(PACKAGE, to));
}

/** Makes the types complete in projects without the DOM's, and gives those that require() the package a copy. */
function finishTypes() {
  const clip = join(PACKAGE, "clip.d.ts");
  // Without the list of all modules below: their types need a newer TypeScript.
  const types = readFileSync(clip, "utf8").replace(/^import "[^"]+";\n/gm, "");
  writeFileSync(clip, `/// <reference lib="dom" />\n${types}`);
  const paths = readdirSync(PACKAGE, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".d.ts"));
  for (const path of paths) {
    const types = readFileSync(join(PACKAGE, path), "utf8").replace(/(["'])(\.{1,2}\/[^"']+)\.js\1/g, "$1$2.cjs$1");
    writeFileSync(join(PACKAGE, path.replace(/\.d\.ts$/, ".d.cts")), types);
  }
}

/**
 * node.cjs: the API for require() in Node before 20.19, which cannot load ES modules by it. Workers and modules are still
 * started from the files beside it.
 */
async function makeCommonJs() {
  await build({
    entryPoints: [join(PACKAGE, "node.js")],
    outfile: join(PACKAGE, "node.cjs"),
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    banner: { js: 'const urlOf = (path) => require("node:url").pathToFileURL(require("node:path").join(__dirname, path)).href;' },
    plugins: [
      {
        name: "import-meta-url",
        setup({ onLoad }) {
          onLoad({ filter: /\.js$/ }, ({ path }) => {
            const url = `urlOf(${JSON.stringify(relative(PACKAGE, path))})`;
            return { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", url), loader: "js" };
          });
        },
      },
    ],
  });
}

function manifest() {
  const cargo = readFileSync(join(REPOSITORY, "Cargo.toml"), "utf8");
  const field = (/** @type {string} */ name) => new RegExp(`^${name} = "(.+)"$`, "m").exec(cargo)?.[1];
  const api = {
    node: {
      "module-sync": "./node.js", // for require() too, where it loads ES modules
      require: { types: "./node.d.cts", default: "./node.cjs" },
      types: "./node.d.ts",
      default: "./node.js",
    },
    require: { types: "./clip.d.cts", default: "./clip.js" },
    types: "./clip.d.ts",
    default: "./clip.js",
  };
  return {
    name: "clip-wasm",
    version: field("version"),
    description: "CLIP image and text embeddings in the browser and in Node, in WebAssembly with SIMD and threads",
    keywords: ["clip", "embeddings", "zero-shot", "image-search", "wasm", "webassembly", "gguf", "candle"],
    license: field("license"),
    repository: field("repository"),
    type: "module",
    exports: {
      ".": api,
      "./clip.js": api,
      "./endpoint.js": { types: "./endpoint.d.ts", default: "./endpoint.js" },
      "./in-place.js": { node: { types: "./node-in-place.d.ts", default: "./node-in-place.js" }, types: "./in-place.d.ts", default: "./in-place.js" },
      "./sw.js": "./sw.js",
      "./towers.wasm": "./pkg/simd128/clip_wasm_bg.wasm",
      "./pictures.wasm": "./pkg/pictures/clip_wasm_bg.wasm",
      "./package.json": "./package.json",
    },
    types: "./clip.d.ts",
    jsdelivr: "./clip.js",
    unpkg: "./clip.js",
    // node.js replaces a browser's functions with Node's; the others are scripts to be run.
    sideEffects: [...STARTED, "node.js", "in-place.js", "node-in-place.js", "sw.js"].map((name) => `./${name}`),
    engines: { node: ">=20" },
  };
}
