// Writes www/pkg/workers/: the script of each worker in one file. A page starts several workers, and each fetches its
// own modules: through a service worker that costs milliseconds for each file.

import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bundled } from "./bundles.mjs";
import { WWW } from "./generated.mjs";

/** Where workers look for the wasm modules, and for each other, is the same in both folders' depth. */
const SCRIPTS = ["lib/worker/model-worker.js", "lib/worker/picture-worker.js", "lib/engine/wasm-thread.js"];
const FOLDER = join(WWW, "pkg/workers");

// In one step, because the page may be served meanwhile.
rmSync(`${FOLDER}.part`, { recursive: true, force: true });
await bundled(SCRIPTS, { outdir: `${FOLDER}.part`, entryNames: "[name]" });
rmSync(FOLDER, { recursive: true, force: true });
renameSync(`${FOLDER}.part`, FOLDER);
