// Starts workers, again where their scripts do not come.

/** Starts after the first. */
const RETRIES = 2;

/** Settles when nobody is at a further start. */
let turn = Promise.resolve();

/**
 * Of starts that fail at first, one is tried again at a time: a script that did not come may come the next time, and
 * in WebKit, of workers that start at once on a page that its service worker isolates, only the first can import.
 * @template T
 * @param {() => Promise<T>} start settles when the worker has said something, or has failed
 * @returns {Promise<T>} rejects as the last start does
 */
export async function insistently(start) {
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
