// What scripts import, as esbuild sees it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { GENERATED, WWW } from "./generated.mjs";

/** @import { BuildOptions } from "esbuild" */

/** Lists of imports that are out of date may name files that are no more. @type {import("esbuild").Plugin} */
const withoutLists = {
  name: "without-lists",
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, ({ path }) => ({ contents: readFileSync(path, "utf8").replace(GENERATED, (part) => (/\nimport "/.test(part) ? "" : part)), loader: "js" }));
  },
};

/**
 * Bundles scripts of www/, each with all that it imports except the wasm modules' bindings.
 * @param {string[]} paths
 * @param {BuildOptions} [options]
 */
export function bundled(paths, options = {}) {
  return build({
    entryPoints: paths.map((path) => join(WWW, path)),
    absWorkingDir: WWW,
    plugins: [withoutLists],
    bundle: true,
    format: "esm",
    charset: "utf8",
    external: ["../../pkg/*"],
    metafile: true,
    logOverride: { "empty-import-meta": "silent" },
    ...options,
  });
}

/**
 * The files that a script imports, directly or not, relative to www/.
 * @param {string} path of the script
 * @param {{ dynamic?: boolean }} [options] whether those count too that it imports later
 * @returns {Promise<string[]>} sorted, without the script itself
 */
export async function importsOf(path, { dynamic = false } = {}) {
  const { metafile } = await bundled([path], { write: false, treeShaking: false });
  const found = new Set([path]);
  for (const input of found) {
    const imports = metafile?.inputs[input]?.imports ?? [];
    for (const { path, kind } of imports) if ((dynamic || kind === "import-statement") && path in (metafile?.inputs ?? {})) found.add(path);
  }
  found.delete(path);
  return [...found].sort();
}
