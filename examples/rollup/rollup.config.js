import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import resolve from "@rollup/plugin-node-resolve";

/** The package's files, from which its workers are started. */
const library = fileURLToPath(new URL(".", import.meta.resolve("clip-wasm")));

/** @type {import("rollup").RollupOptions} */
export default {
  input: "main.js",
  output: { dir: "dist", format: "es" },
  plugins: [resolve({ browser: true }), { name: "library", writeBundle: () => cpSync(library, "dist/clip-wasm", { recursive: true }) }],
};
