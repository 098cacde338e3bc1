// Waits that end: with what was waited for, or with an error that says what did not come.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

/** Milliseconds in which anything that a test waits for comes, however busy the machine is. */
const PATIENCE = 20_000;

/**
 * Waits until `condition` gives something true, and fails where it does not in time.
 * @param {string} what it is, for the message
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
