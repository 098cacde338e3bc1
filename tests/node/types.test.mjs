// The package's files, whether its types work where it is installed, and what bundlers leave out.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { REPOSITORY } from "../browser/support/browser.mjs";
import { Installed, PACKAGE } from "./installed.mjs";

/** @type {Installed} */
let installed;
before(() => (installed = new Installed()));
after(() => installed.remove());

test("the version is the crate's", () => {
  const cargo = readFileSync(join(REPOSITORY, "Cargo.toml"), "utf8");
  assert.equal(installed.manifest.version, /^version = "(.+)"$/m.exec(cargo)?.[1]);
});

test("npm would publish it", () => {
  const { status, stderr } = spawnSync("npm", ["publish", "--dry-run"], { cwd: PACKAGE, encoding: "utf8", timeout: 120_000 });
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /errors corrected|auto-corrected/, "npm would publish another package.json");
});

test("it has the API and the builds, and no files of the page", () => {
  const builds = readdirSync(join(REPOSITORY, "www/pkg")).filter((name) => name !== "workers").flatMap((build) => ["clip_wasm.d.ts", "clip_wasm.js", "clip_wasm_bg.wasm"].map((name) => `pkg/${build}/${name}`));
  assert.equal(builds.length, 18);
  const wanted = [...builds, "clip.js", "clip.d.ts", "node.js", "node.d.ts", "node.cjs", "node.d.cts", "in-place.js", "in-place.d.ts", "lib/worker/model-worker.js", "lib/worker/picture-worker.js", "pkg/workers/model-worker.js", "pkg/workers/picture-worker.js", "pkg/workers/wasm-thread.js", "sw.js", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "package.json"];
  const missing = wanted.filter((path) => !installed.files.includes(path));
  assert.deepEqual(missing, []);
  const foreign = installed.files.filter((path) => /^(page|models|samples)\/|\.(gguf|html|css|ts\.map)$|^main\.js$/.test(path));
  assert.deepEqual(foreign, []);
});

test("a bundler includes only the function that is used", async () => {
  const contents = 'import { errorJson } from "clip-wasm"; console.log(errorJson(new Error("oh")));';
  const stdin = { contents, resolveDir: installed.folder };
  const { metafile } = await build({ stdin, bundle: true, format: "esm", write: false, metafile: true, outfile: "out.js" });
  const taken = Object.entries(metafile.outputs["out.js"]?.inputs ?? {}).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  assert.deepEqual(taken.map(([path]) => path.split("/").at(-1)), ["error.js", "<stdin>"]);
});

/** Right and wrong uses: each line under `@ts-expect-error` must be refused, and no other. */
const USES = `
import { ClipEncoder, ClipError, deleteKeptModel, errorJson, keptModels } from "clip-wasm";
import type { Embeddings, ImageSource, LoadOptions } from "clip-wasm";

const options: LoadOptions = { towers: ["text"], onProgress: ({ loaded, total }) => console.log(loaded, total ?? "?") };
const clip: ClipEncoder = await ClipEncoder.load("model.gguf", { ...options, threads: 2, signal: new AbortController().signal });
const { data, status_code }: Embeddings = await clip.embedText(["a cat"], { normalize: false });
const value: number | undefined = data[0]?.[0];
const fine: 200 = status_code;
const sources: ImageSource[] = [new Blob(), new Uint8Array(), new ArrayBuffer(1), "cat.png", new URL("https://example.org/cat.png")];
await clip.embedImage(sources);
await clip.embedImage(sources, { onTimings: ({ index, decode, decoder, batch }) => console.log(index + decode + batch, decoder === "browser") });
await clip.embedText(["a cat"], { onTimings: ({ tower, total }) => console.log(tower / total) });
const dimension: number = clip.info.embeddingDimension;
const side: number | null = clip.info.imageSize;
const kept: { url: string; keptSize: number }[] = await keptModels();
await deleteKeptModel(new URL("https://example.org/model.gguf"));
const code: string = errorJson(new ClipError("closed", "over")).error.code;
await ClipEncoder.load(new Uint8Array(3));
clip.close();

// @ts-expect-error a list is wanted
clip.embedText("a cat");
// @ts-expect-error numbers are no images
clip.embedImage([7]);
// @ts-expect-error a text is not decoded
clip.embedText(["a cat"], { onTimings: ({ decode }) => console.log(decode) });
// @ts-expect-error there is no such tower
ClipEncoder.load("model.gguf", { towers: ["audio"] });
// @ts-expect-error there is no such option
ClipEncoder.load("model.gguf", { tower: ["text"] });
// @ts-expect-error vectors are lists of numbers
const words: string[][] = data;
// @ts-expect-error the size is null where there is no such tower
const size: number = clip.info.imageSize;
// @ts-expect-error info is not to be written
clip.info = clip.info;

export { value, fine, dimension, side, kept, code, words, size };
`;

const COMPILERS = { "TypeScript 5.0": "examples/node_modules/typescript-5.0/bin/tsc", "this TypeScript": "node_modules/typescript/bin/tsc" };

for (const [name, compiler] of Object.entries(COMPILERS)) {
  for (const resolution of ["bundler", "node16", "nodenext"]) {
    for (const module of resolution === "bundler" ? ["ES modules"] : ["ES modules", "CommonJS"]) {
      // Without the DOM's types, as in most projects for Node.
      test(`its types in ${name}, with moduleResolution ${resolution}, from ${module}`, (t) => {
        const folder = mkdtempSync(join(installed.folder, "types-"));
        t.after(() => rmSync(folder, { recursive: true }));
        const isCommonJs = module === "CommonJS";
        const compilerOptions = {
          strict: true,
          noEmit: true,
          target: "es2022",
          module: resolution === "bundler" ? "esnext" : resolution,
          moduleResolution: resolution,
          lib: ["es2022"],
          types: [],
          skipLibCheck: false,
        };
        const [imports = "", uses = ""] = USES.split(/(?=^const options)/m);
        const [body, exported] = uses.split(/(?=^export)/m);
        // CommonJS has no top-level await.
        writeFileSync(join(folder, "uses.ts"), isCommonJs ? `${imports}async function use() {${body}}\nexport { use };` : `${imports}${body}${exported}`);
        writeFileSync(join(folder, "package.json"), isCommonJs ? "{}" : '{ "type": "module" }');
        writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["uses.ts"] }));
        const { status, stdout } = spawnSync(process.execPath, [join(REPOSITORY, compiler)], { cwd: folder, encoding: "utf8" });
        assert.equal(status, 0, stdout);
      });
    }
  }
}
