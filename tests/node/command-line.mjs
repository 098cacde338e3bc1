// The command line as a user runs it, in an empty folder, with a home for models of the Hub.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEARTS, PROGRAM } from "./installed.mjs";

export class CommandLine {
  /** Where it is run. */
  folder = mkdtempSync(join(tmpdir(), "clip-wasm-"));
  home = join(this.folder, "home");

  /** @param {string} endpoint the address of the Hub */
  constructor(endpoint) {
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run cargo build --release --features hub`);
    this.endpoint = endpoint;
    this.forget();
  }

  /**
   * @param {string[]} parameters
   * @param {Record<string, string>} [env]
   * @param {string} [input] lines for stdin
   * @returns {Promise<{ code: number | null, printed: string, said: string }>}
   */
  run(parameters, env = {}, input = "") {
    // Nothing of this machine's own settings.
    const all = { PATH: process.env.PATH, HF_ENDPOINT: this.endpoint, HF_HOME: this.home, ...env };
    const program = spawn(PROGRAM, parameters, { cwd: this.folder, env: all });
    program.stdin.on("error", () => {}); // it may end before it has read everything
    program.stdin.end(input);
    let printed = "";
    let said = "";
    program.stdout.on("data", (data) => (printed += data));
    program.stderr.on("data", (data) => (said += data));
    return new Promise((resolve) => program.on("close", (code) => resolve({ code, printed, said })));
  }

  /**
   * @param {string} model
   * @param {Record<string, string>} [env]
   * @param {string[]} more parameters
   * @returns {Promise<{ data: number[][], said: string }>} the vectors of a text and a picture
   */
  async embed(model, env, ...more) {
    const { code, printed, said } = await this.run(["embed", "--model", model, "--text", "three red hearts", "--image", HEARTS, ...more], env);
    if (code !== 0) throw new Error(`${model}: ${said}`);
    return { data: JSON.parse(printed).data, said };
  }

  /** @returns {string[]} paths in the home of what is stored of models; not of locks, which are empty */
  stored() {
    const files = readdirSync(this.home, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
    return files.map(({ parentPath, path, name }) => join(parentPath ?? path, name)).filter((path) => !path.endsWith(".lock"));
  }

  /** Empties the home. */
  forget() {
    rmSync(this.home, { recursive: true, force: true });
    mkdirSync(this.home);
  }

  remove() {
    rmSync(this.folder, { recursive: true });
  }
}
