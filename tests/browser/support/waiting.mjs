// Waits for a condition, or fails with an error that names it.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

/** Milliseconds after which a wait fails; enough even on a busy machine. */
const PATIENCE = 20_000;

/**
 * Waits until `condition` gives something true, and fails if it does not in time.
 * @param {string} what the condition is, for the message
 * @param {() => unknown} condition may be asynchronous
 * @param {number} [patience] milliseconds
 */
export async function waitUntil(what, condition, patience = PATIENCE) {
  const end = Date.now() + patience;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`not within ${patience / 1000} s: ${what}`);
    await pause(20);
  }
}
