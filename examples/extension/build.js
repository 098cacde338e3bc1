import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";

// An extension may run only its own files, so it needs those of the package.
cpSync(fileURLToPath(new URL(".", import.meta.resolve("clip-wasm"))), "clip-wasm", { recursive: true });
