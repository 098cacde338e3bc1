// Writes into the scripts of a page the list of all modules that each imports, directly or not. A browser learns of a
// module's imports only when it has fetched it; by this list it asks for all at once. The scripts of workers are bundled
// instead: see bundles.mjs.
//
//   node packaging/imports.mjs           writes them
//   node packaging/imports.mjs --check   fails if they are out of date

import { dirname, join, relative } from "node:path";
import { importsOf } from "./bundles.mjs";
import { putGenerated, WWW } from "./generated.mjs";

for (const path of ["main.js", "clip.js"]) putGenerated(join(WWW, path), list(path, await importsOf(path)));

/**
 * @param {string} path of the script
 * @param {string[]} imports
 * @returns {string} a line for each folder
 */
function list(path, imports) {
  /** @type {Map<string, string[]>} */
  const lines = new Map();
  for (const input of imports) {
    const from = relative(dirname(join(WWW, path)), join(WWW, input)).replaceAll("\\", "/");
    const url = from.startsWith(".") ? from : `./${from}`;
    lines.set(dirname(input), [...(lines.get(dirname(input)) ?? []), `import ${JSON.stringify(url)};`]);
  }
  return [...lines.values()].map((line) => `${line.join(" ")}\n`).join("");
}
