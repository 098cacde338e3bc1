// The example of many images under Ray: two workers on this machine, of which one process and one worker are lost.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { PHOTOS, REPOSITORY } from "../browser/support/browser.mjs";
import { largestDifference } from "../browser/support/vectors.mjs";
import { commandLine, DEMO, PROGRAM } from "./installed.mjs";

const PYTHON = join(REPOSITORY, "target/ray/bin/python");
const NAMES = ["rocket.jpg", "horse.png", "coffee.png", "astronaut.png"];
const COPIES = 60;
const LONGEST = 300_000;
/** Prints a folder of Parquet files as JSON. */
const READ = "import json, sys, pyarrow.parquet as pq; print(json.dumps(pq.read_table(sys.argv[1]).to_pylist()))";

/** @typedef {{ path: string, embedding: number[] | null, error_code: string | null }} Row */

test("Ray embeds a folder with two workers, and loses nothing when one of them ends", { timeout: LONGEST }, async (t) => {
  if (!existsSync(PYTHON)) throw new Error(`${PYTHON} is missing: ./build.sh test installs it`);
  const folder = mkdtempSync(join(tmpdir(), "clip-wasm-ray-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const photos = join(folder, "photos");
  mkdirSync(join(photos, "sub"), { recursive: true });
  const paths = NAMES.flatMap((name) => Array.from({ length: COPIES }, (_, i) => join(photos, i % 2 ? "sub" : "", `${i}-${name}`)));
  for (const path of paths) symlinkSync(join(PHOTOS, path.replace(/.*\d-/, "")), path);
  writeFileSync(join(photos, "bad.png"), "no image");
  writeFileSync(join(photos, "notes.txt"), "no image either");

  const output = join(folder, "vectors");
  const env = { ...process.env, CLIP_WASM: PROGRAM, RAY_USAGE_STATS_ENABLED: "0" };
  const embedding = spawn(PYTHON, [join(REPOSITORY, "examples/ray/embed.py"), DEMO, photos, output, "2"], { env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => void embedding.kill("SIGKILL"));
  let said = "";
  for (const stream of [embedding.stdout, embedding.stderr]) stream.on("data", (data) => (said += data));
  const ended = new Promise((resolve) => embedding.on("exit", resolve));

  const [first, second] = await workers(photos);
  process.kill(Number(first?.pid), "SIGKILL"); // the process of one worker
  process.kill(Number(second?.parent), "SIGKILL"); // the other worker itself
  assert.equal(await ended, 0, said);
  assert.match(said, new RegExp(`^${paths.length + 1} images with 2 workers`, "m"));

  /** @type {Row[]} */
  const rows = JSON.parse(execFileSync(PYTHON, ["-c", READ, output], { encoding: "utf8", maxBuffer: 1 << 28 }));
  assert.deepEqual(rows.map(({ path }) => path).sort(), [...paths, join(photos, "bad.png")].sort(), "each image once");
  const wanted = commandLine(...NAMES.flatMap((name) => ["--image", join(PHOTOS, name)]));
  for (const { path, embedding, error_code: code } of rows) {
    const index = NAMES.findIndex((name) => path.endsWith(`-${name}`));
    if (index < 0) assert.deepEqual([embedding, code], [null, "unsupported_image"], path);
    else assert.ok(largestDifference(embedding ?? [], wanted[index] ?? []) < 1e-6, path);
  }
});

/**
 * The processes of the command line that two workers have started, as soon as there are two.
 * @param {string} photos
 * @returns {Promise<{ pid: number, parent: number }[]>}
 */
async function workers(photos) {
  for (let waited = 0; waited < LONGEST / 2; waited += 50) {
    const lines = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" }).split("\n");
    const found = lines.map((line) => /^ *(\d+) +(\d+) (.+)$/.exec(line)).filter((match) => match?.[3]?.startsWith(`${PROGRAM} embed --model ${DEMO} --stdin`));
    if (found.length >= 2) return found.map((match) => ({ pid: Number(match?.[1]), parent: Number(match?.[2]) }));
    await pause(50);
  }
  throw new Error(`Ray has started no two workers for ${photos}`);
}
