// The errors of JavaScript and those of Rust are one set.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ClipError, STATUS_CODES } from "../../www/lib/shared/error.js";
import { REPOSITORY } from "../browser/support/browser.mjs";

test("a code has the same HTTP status in Rust and in JavaScript", () => {
  const source = readFileSync(join(REPOSITORY, "src/error.rs"), "utf8");
  const codes = new Map([...source.matchAll(/Self::(\w+) => "(\w+)"/g)].map(([, kind, code]) => [kind, String(code)]));
  const arms = [...source.matchAll(/((?:Self::\w+\s*\|?\s*)+)=> (\d{3})/g)];
  const statuses = arms.flatMap(([, kinds, status]) => [...String(kinds).matchAll(/Self::(\w+)/g)].map(([, kind]) => ({ code: codes.get(kind), status: Number(status) })));
  assert.equal(statuses.length, codes.size);
  assert.ok(codes.size >= 15);
  for (const { code, status } of statuses) assert.equal(new ClipError(String(code), "").statusCode, status, code);
  assert.equal(STATUS_CODES.corrupt_image, 422);
});
