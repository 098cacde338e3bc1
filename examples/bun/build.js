import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { success } = await Bun.build({ entrypoints: ["main.js"], target: "browser", minify: true, outdir: "dist" });
if (!success) process.exit(1);
// The package's files, from which its workers are started.
cpSync(fileURLToPath(new URL(".", import.meta.resolve("clip-wasm"))), "dist/clip-wasm", { recursive: true });
