import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

await build({ entryPoints: ["main.js"], bundle: true, format: "esm", minify: true, outdir: "dist" });
// The package's files, from which its workers are started.
cpSync(fileURLToPath(new URL(".", import.meta.resolve("clip-wasm"))), "dist/clip-wasm", { recursive: true });
