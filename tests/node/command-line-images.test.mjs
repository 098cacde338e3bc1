// Images by their addresses, on the command line.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { CommandLine } from "./command-line.mjs";
import { DEMO, HEARTS } from "./installed.mjs";

/** @import { IncomingMessage, ServerResponse } from "node:http" */

const picture = readFileSync(HEARTS);

/** @type {Record<string, (request: IncomingMessage, response: ServerResponse) => void>} */
const answers = {
  "/hearts.png": (_request, response) => void response.end(picture),
  "/moved": (_request, response) => void response.writeHead(302, { location: "/hearts.png" }).end(),
  "/round": (_request, response) => void response.writeHead(302, { location: "/round" }).end(),
  "/page": (_request, response) => void response.end("<!doctype html><title>Sign in</title>"),
  "/large": (_request, response) => void response.writeHead(200, { "content-length": 500_000_000 }).write(picture),
  "/endless": (_request, response) => endless(response),
  "/cut": (_request, response) => void response.writeHead(200, { "content-length": picture.length + 9 }).write(picture, () => response.destroy()),
  "/token": (request, response) => void response.writeHead(request.headers.authorization ? 200 : 404).end(picture),
};
const server = createServer((request, response) => {
  const answer = answers[String(request.url).split("?")[0] ?? ""];
  if (answer) answer(request, response);
  else response.writeHead(404).end("not here");
});
let origin = "";
/** @type {CommandLine} */
let line;
before(async () => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  origin = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
  line = new CommandLine(origin);
});
after(() => {
  line?.remove();
  server.closeAllConnections();
  server.close();
});

/** @param {ServerResponse} response */
function endless(response) {
  const more = () => response.writable && !response.destroyed && response.write(Buffer.alloc(1 << 16), () => setImmediate(more));
  more();
}

/**
 * @param {string[]} lines of stdin
 * @param {string[]} more parameters
 * @returns {Promise<{ embedding?: number[], error?: { code: string, message: string }, status_code?: number }[]>}
 */
async function lines(lines, ...more) {
  const parameters = ["embed", "--model", DEMO, "--stdin", "--output", "jsonl", ...more];
  const { code, printed, said } = await line.run(parameters, { HF_TOKEN: "hf_secret" }, lines.join("\n"));
  assert.equal(code, 0, said);
  return printed.trim().split("\n").map((text) => JSON.parse(text));
}

test("they are fetched, as options and as lines", async () => {
  const own = JSON.parse((await line.run(["embed", "--model", DEMO, "--image", HEARTS])).printed);
  const { printed, said } = await line.run(["embed", "--model", DEMO, "--image", `${origin}/hearts.png`, "--image", `${origin}/moved`]);
  assert.deepEqual(JSON.parse(printed || "null")?.data, [own.data[0], own.data[0]], said);
  for (const more of [[], ["--lines", "image"]]) {
    const [first, second] = await lines([`${origin}/hearts.png?size=large`, HEARTS], ...more);
    assert.deepEqual([first?.embedding, second?.embedding], [own.data[0], own.data[0]]);
  }
});

test("with --lines text an address is a text", async () => {
  const [first] = await lines([`${origin}/hearts.png`], "--lines", "text");
  const text = JSON.parse((await line.run(["embed", "--model", DEMO, "--text", `${origin}/hearts.png`])).printed);
  assert.deepEqual(first?.embedding, text.data[0]);
});

describe("an error in its line, for", () => {
  /** @type {[what: string, path: string, code: string, status: number, message: RegExp][]} */
  const cases = [
    ["nothing at an address", "/nowhere", "http_status", 502, /\/nowhere answered 404/],
    ["a page", "/page", "unsupported_image", 415, /\/page: /],
    ["a file that is announced too large", "/large", "image_too_large", 413, /500000000 bytes of an image's file are more/],
    ["a file without an end", "/endless", "image_too_large", 413, /\/endless: .+raise the limit imageBytes/],
    ["a file whose connection ends", "/cut", "network", 502, /the connection ended after \d+ bytes of/],
    ["a circle of redirects", "/round", "http_status", 502, /redirects more than 5 times/],
    ["an address that is none", "/a b", "invalid_input", 400, /is not an address/],
    ["the Hub's token, which is not sent", "/token", "http_status", 502, /answered 404/],
  ];
  for (const [what, path, code, status, message] of cases) {
    test(what, async () => {
      const limit = path === "/endless" ? ["--limit", "imageBytes=300000"] : [];
      const [failed, next] = await lines([`${origin}${path}`, `${origin}/hearts.png`], ...limit);
      assert.deepEqual([failed?.error?.code, failed?.status_code], [code, status], failed?.error?.message);
      assert.match(String(failed?.error?.message), message);
      assert.ok(next?.embedding, next?.error?.message);
    });
  }

  test("a server that is not there", async () => {
    const [failed] = await lines(["http://127.0.0.1:9/hearts.png"]);
    assert.equal(failed?.error?.code, "network", failed?.error?.message);
  });
});
