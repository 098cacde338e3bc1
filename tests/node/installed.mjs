// The package as a user has it: packed by npm, and installed into an empty folder.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "../browser/support/browser.mjs";

export const PACKAGE = join(REPOSITORY, "pkg");
/** The command line. */
export const PROGRAM = process.env.CLIP_WASM ?? join(REPOSITORY, "target/release/clip-wasm");
/** The demo model, a sample, and the command line's vectors for them. */
export const DEMO = join(REPOSITORY, "www/models/demo.gguf");
export const HEARTS = join(REPOSITORY, "www/samples/hearts.png");

export class Installed {
  /** A folder with the package in its node_modules. */
  folder = mkdtempSync(join(tmpdir(), "clip-wasm-"));
  /** @type {string[]} the paths in the package */
  files;

  constructor() {
    if (!existsSync(join(PACKAGE, "package.json"))) throw new Error("pkg/ is missing: run ./build.sh package first");
    const printed = this.npm("pack", PACKAGE, "--json", "--pack-destination", this.folder);
    const [{ filename, files }] = JSON.parse(printed);
    this.files = files.map((/** @type {{ path: string }} */ { path }) => path);
    writeFileSync(join(this.folder, "package.json"), '{ "private": true, "type": "module" }');
    this.npm("install", "--offline", "--no-audit", "--no-fund", join(this.folder, filename));
  }

  /** @param {string[]} parameters */
  npm(...parameters) {
    return execFileSync("npm", parameters, { cwd: this.folder, encoding: "utf8" });
  }

  get manifest() {
    return JSON.parse(readFileSync(join(this.folder, "node_modules/clip-wasm/package.json"), "utf8"));
  }

  remove() {
    rmSync(this.folder, { recursive: true });
  }
}

/**
 * @param {string[]} inputs `--text T` and `--image FILE`
 * @returns {number[][]} the command line's vectors with the demo model
 */
export function commandLine(...inputs) {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run cargo build --release --features hub`);
  return JSON.parse(execFileSync(PROGRAM, ["embed", "--model", DEMO, ...inputs], { encoding: "utf8" })).data;
}
