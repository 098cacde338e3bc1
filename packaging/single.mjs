// Makes clip-wasm.html: the page with its styles, scripts, workers, wasm modules, samples and demo model in one file,
// which runs from a disk.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, extname, join, relative, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** @import { BuildOptions, Plugin } from "esbuild" */

const REPOSITORY = resolve(import.meta.dirname, "..");
const WWW = join(REPOSITORY, "www");
const SINGLE = join(import.meta.dirname, "single");
const OUTPUT = join(REPOSITORY, "clip-wasm.html");

/** Types of the files that the page fetches. */
/** @type {Record<string, string>} */
const FETCHED = { ".gguf": "application/octet-stream", ".jpg": "image/jpeg", ".json": "application/json", ".png": "image/png" };

const [model, pictures, vectors, thumbnails] = await Promise.all(
  ["lib/worker/model-worker.js", "lib/worker/picture-worker.js", "page/search/vector-worker.js", "page/search/thumbnail-worker.js"].map((path) => bundle(join(WWW, path), "iife", [onlyBuild(), packed()])),
);
const script = await bundle(join(SINGLE, "main.js"), "esm", [
  packed(),
  virtual("model", String(model), "text"),
  virtual("pictures", String(pictures), "text"),
  virtual("vectors", String(vectors), "text"),
  virtual("thumbnails", String(thumbnails), "text"),
  virtual("files", files(), "js"),
]);
const html = page(script);
writeFileSync(OUTPUT, html);
console.log(`${relative(REPOSITORY, OUTPUT)}: ${(Buffer.byteLength(html) / 1e6).toFixed(2)} MB`);

/**
 * @param {string} entry
 * @param {"iife" | "esm"} format
 * @param {Plugin[]} plugins
 * @returns {Promise<string>}
 */
async function bundle(entry, format, plugins) {
  /** @type {BuildOptions} */
  const options = {
    entryPoints: [entry],
    bundle: true,
    format,
    minify: true,
    charset: "utf8",
    target: "es2022",
    plugins,
    // `import.meta.url` is empty here, but a single file does not use it: it fetches nothing beside its modules.
    logOverride: { "empty-import-meta": "silent" },
  };
  const { outputFiles } = await build({ ...options, write: false });
  return /** @type {{ text: string }} */ (outputFiles[0]).text;
}

/** Replaces the choice of builds by the one build in the file. @returns {Plugin} */
function onlyBuild() {
  return {
    name: "only-build",
    setup(build) {
      build.onResolve({ filter: /\/(builds|pictures-build)\.js$/ }, ({ path }) => ({ path: join(SINGLE, basename(path)) }));
    },
  };
}

/** `packed:PATH`: the compressed bytes of a file, with its path relative to the repository. @returns {Plugin} */
function packed() {
  return {
    name: "packed",
    setup(build) {
      build.onResolve({ filter: /^packed:/ }, ({ path }) => ({ path: path.slice("packed:".length), namespace: "packed" }));
      build.onLoad({ filter: /.*/, namespace: "packed" }, ({ path }) => ({
        contents: gzipSync(readFileSync(join(REPOSITORY, path)), { level: 9 }),
        loader: "binary",
      }));
    },
  };
}

/**
 * `single:NAME`: a module that this script makes.
 * @param {string} name
 * @param {string} contents
 * @param {"js" | "text"} loader
 * @returns {Plugin}
 */
function virtual(name, contents, loader) {
  return {
    name,
    setup(build) {
      build.onResolve({ filter: new RegExp(`^single:${name}$`) }, () => ({ path: name, namespace: name }));
      build.onLoad({ filter: /.*/, namespace: name }, () => ({ contents, loader, resolveDir: SINGLE }));
    },
  };
}

/** The source of a module with every file that the page fetches: its path, its type, and its compressed bytes. */
function files() {
  const paths = readdirSync(WWW, { recursive: true, encoding: "utf8" }).filter((path) => extname(path) in FETCHED && !/^(pkg|icons)\//.test(path));
  const imports = paths.map((path, i) => `import bytes${i} from ${JSON.stringify(`packed:www/${path}`)};`);
  const entries = paths.map((path, i) => `{ path: ${JSON.stringify(path)}, type: ${JSON.stringify(FETCHED[extname(path)])}, bytes: bytes${i} }`);
  return `${imports.join("\n")}\nexport default [${entries.join(", ")}];`;
}

/**
 * @param {string} script
 * @returns {string} index.html with everything it refers to
 */
function page(script) {
  const text = (/** @type {string} */ name) => readFileSync(join(WWW, name), "utf8");
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${createHash("sha256").update(script).digest("base64")}' 'wasm-unsafe-eval'`,
    "worker-src blob:",
    "style-src 'unsafe-inline'",
    "img-src blob: data:",
    "connect-src blob: https: http:", // models that the user chooses
  ];
  const html = text("index.html")
    .replace(/ *<link rel="([\w-]+)"[^>]* ?href="([^"]+)"[^>]*>\n/g, (_tag, rel, href) => {
      if (rel === "stylesheet") return `<style>\n${text(href)}</style>\n`;
      if (rel === "icon") return `<link rel="icon" href="data:image/svg+xml;base64,${Buffer.from(text(href)).toString("base64")}">\n`;
      return ""; // preloads, and links for installing the page: a single file has neither
    })
    .replace(/ *<script[^>]* src="(main|page\/shell\/start)\.js"><\/script>\n/g, "")
    .replace(/ *<meta http-equiv="Content-Security-Policy"[^>]*>\n/i, "") // it is for the page's own files
    .replace(/<meta charset="utf-8">\n/, (tag) => `${tag}  <meta http-equiv="Content-Security-Policy" content="${policy.join("; ")}">\n`)
    .replace("</body>", () => `<script type="module">${script}</script>\n</body>`);
  const outside = /<(?:link|script|img|source|iframe)\b[^>]* (?:src|href)="(?!data:)[^"]*"/.exec(html.replace(script, ""));
  if (outside) throw new Error(`index.html refers to a file that is not embedded: ${outside[0]}`);
  return html;
}
