// Starts workers, and tries again if a script fails to load.

/** Retries after the first start. */
const RETRIES = 2;

/** Tail of the retry queue: retries run one at a time. */
let turn = Promise.resolve();

/**
 * Retries a start that fails, one worker at a time. A script that failed to load may load the next time. And in WebKit,
 * if several workers start at once on a page that its service worker isolates, only the first can import modules.
 * @template T
 * @param {() => Promise<T>} start resolves with the worker's first message, or rejects if it fails before
 * @returns {Promise<T>} rejects with the error of the last start
 */
export async function startWithRetries(start) {
  let outcome = start();
  for (let tries = 0; tries < RETRIES; tries++) {
    outcome = outcome.catch(() => {
      const again = turn.then(start);
      turn = again.then(
        () => {},
        () => {},
      );
      return again;
    });
  }
  return outcome;
}
