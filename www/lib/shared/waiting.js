// Waiting that an AbortSignal can end.

import { environment } from "./environment.js";
import { abortedError } from "./error.js";

/**
 * Calls `listener` when a signal aborts, and at once if it has aborted already.
 * @param {AbortSignal | undefined} signal
 * @param {() => void} listener
 * @returns {() => void} removes the listener
 */
export function onAbort(signal, listener) {
  if (!signal) return () => {};
  environment.acceptListeners(signal);
  signal.addEventListener("abort", listener);
  if (signal.aborted) listener();
  return () => signal.removeEventListener("abort", listener);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>} rejects with `aborted` as soon as the signal says so
 */
export async function untilAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const forgetSignal = onAbort(signal, () => reject(abortedError(signal)));
    promise.then(resolve, reject).finally(forgetSignal);
  });
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>} rejects with `aborted` as soon as the signal says so
 */
export async function pause(milliseconds, signal) {
  await untilAborted(environment.wait(milliseconds), signal);
}
