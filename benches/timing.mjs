// Times the calls of a setup. Each contestant has its own page, and they take turns, one call at a time.

import { setTimeout as pause } from "node:timers/promises";
import { ContestantPage } from "./browser.mjs";
import { CONTESTANTS, contestantsOf } from "./cases.mjs";

/** @import { BrowserContext } from "playwright-core" */
/** @import { Hosts } from "./browser.mjs" */
/** @import { Case, Setup } from "./cases.mjs" */
/** @import { Name } from "./page/contestants.js" */

/**
 * Milliseconds per call, for each contestant that took part. The same index is the same round.
 * @typedef {Partial<Record<Name, number[]>>} Times
 */

/** An engine compiles in tiers, and reaches the last one only when code has run for a while. */
const WARM_UP = { calls: 3, milliseconds: 2000 };
/** Threads of a pool spin for a moment after their work, which would slow down the next contestant. */
const REST_MILLISECONDS = 30;
const LONG_CASE_SHARE = 0.3;

/**
 * @param {BrowserContext} context
 * @param {Hosts} hosts
 * @param {Setup} setup
 * @param {Case[]} cases
 * @param {number} rounds
 * @param {(timed: Case, measure: () => Promise<Times>) => Promise<void>} run called for each case in turn
 */
export async function timeSetup(context, hosts, setup, cases, rounds, run) {
  const names = CONTESTANTS.filter((name) => cases.some(({ call }) => contestantsOf(call).includes(name)));
  /** @type {Map<Name, ContestantPage>} */
  const pages = new Map();
  for (const name of names) {
    const host = setup.isolated ? hosts.isolated : hosts.plain(name);
    const page = await ContestantPage.create(context, host, name);
    await page.open(name, { model: setup.model, towers: ["image", "text"], threads: setup.threads, device: setup.device });
    await page.prepare();
    pages.set(name, page);
  }
  for (const timed of cases) {
    const players = contestantsOf(timed.call).map((name) => ({ name, page: /** @type {ContestantPage} */ (pages.get(name)) }));
    await run(timed, () => timeCase(timed, players, timed.long ? Math.ceil(rounds * LONG_CASE_SHARE) : rounds));
  }
  for (const page of pages.values()) await page.close();
}

/**
 * @param {Case} timed
 * @param {{ name: Name, page: ContestantPage }[]} players
 * @param {number} rounds
 * @returns {Promise<Times>}
 */
async function timeCase({ call, params }, players, rounds) {
  for (const { page } of players) {
    for (let calls = 0, total = 0; calls < WARM_UP.calls || total < WARM_UP.milliseconds; calls++) {
      total += await page.time(call, params);
    }
  }
  /** @type {Times} */
  const times = Object.fromEntries(players.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // The order rotates, so that no contestant always runs on a processor heated by the same one.
    for (let turn = 0; turn < players.length; turn++) {
      const { name, page } = /** @type {typeof players[number]} */ (players[(round + turn) % players.length]);
      await pause(REST_MILLISECONDS);
      times[name]?.push(await page.time(call, params));
    }
  }
  return times;
}
