// Makes pkg/, the package as npm publishes it: the API's files of www/ with their types, and the wasm module.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { build } from "esbuild";

const REPOSITORY = resolve(import.meta.dirname, "..");
const WWW = join(REPOSITORY, "www");
const PACKAGE = join(REPOSITORY, "pkg");

/** What is started or registered by its address, so that no import leads there. */
const STARTED = ["worker.js", "thread.js", "node-thread.js"];
const ENTRIES = ["clip.js", "node.js", "endpoint.js", "sw.js", ...STARTED];
const DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

rmSync(PACKAGE, { recursive: true, force: true });
for (const path of await modules()) {
  copy(join(WWW, path), path);
  if (!path.startsWith("pkg/")) continue;
  const folder = dirname(path);
  copy(join(WWW, folder, "clip_wasm_bg.wasm"), join(folder, "clip_wasm_bg.wasm"));
  const types = readFileSync(join(WWW, folder, "clip_wasm.d.ts"), "utf8");
  // They name `Symbol.dispose`, which most projects' settings do not know.
  writeFileSync(join(PACKAGE, folder, "clip_wasm.d.ts"), `/// <reference lib="esnext.disposable" />\n${types}`);
}
for (const name of DOCUMENTS) copy(join(REPOSITORY, name), name);
execFileSync(join(REPOSITORY, "node_modules/.bin/tsc"), ["--project", join(import.meta.dirname, "tsconfig.types.json")], { stdio: "inherit" });
writeFileSync(join(PACKAGE, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`);

/** @returns {Promise<string[]>} the entries, and all that they import */
async function modules() {
  const { metafile } = await build({
    entryPoints: ENTRIES.map((name) => join(WWW, name)),
    absWorkingDir: REPOSITORY,
    bundle: true,
    format: "esm",
    platform: "node",
    write: false,
    metafile: true,
    outdir: PACKAGE,
  });
  return Object.keys(metafile.inputs).map((path) => relative(WWW, join(REPOSITORY, path)));
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

function manifest() {
  const cargo = readFileSync(join(REPOSITORY, "Cargo.toml"), "utf8");
  const field = (/** @type {string} */ name) => new RegExp(`^${name} = "(.+)"$`, "m").exec(cargo)?.[1];
  const api = { node: { types: "./node.d.ts", default: "./node.js" }, types: "./clip.d.ts", default: "./clip.js" };
  return {
    name: "clip-wasm",
    version: field("version"),
    description: "CLIP image and text embeddings in the browser and in Node, in WebAssembly with SIMD and threads",
    keywords: ["clip", "embeddings", "zero-shot", "image-search", "wasm", "webassembly", "gguf", "candle"],
    license: field("license"),
    type: "module",
    exports: {
      ".": api,
      "./clip.js": api,
      "./endpoint.js": { types: "./endpoint.d.ts", default: "./endpoint.js" },
      "./sw.js": "./sw.js",
      "./package.json": "./package.json",
    },
    types: "./clip.d.ts",
    jsdelivr: "./clip.js",
    unpkg: "./clip.js",
    // node.js puts Node's ways in the place of a browser's; the others act by being started.
    sideEffects: [...STARTED, "node.js", "sw.js"].map((name) => `./${name}`),
    engines: { node: ">=20" },
  };
}
