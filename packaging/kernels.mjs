// Writes a digest of the GPU's kernels, and of what drives them, into what the page remembers of a GPU: a GPU that was
// refused because of a fault of theirs is tried again when they have changed.
//
//   node packaging/kernels.mjs           writes it
//   node packaging/kernels.mjs --check   fails if it is out of date

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { putGenerated, WWW } from "./generated.mjs";

const GPU = resolve(WWW, "../src/gpu");

const digest = createHash("sha256");
for (const path of readdirSync(GPU, { recursive: true, encoding: "utf8" }).sort()) {
  if (/^(tests|shaders)$|^tests[/\\.]/.test(path)) continue;
  digest.update(readFileSync(join(GPU, path)));
}
putGenerated(join(WWW, "lib/store/gpu-verdicts.js"), `const KERNELS = "${digest.digest("hex").slice(0, 8)}";\n`);
