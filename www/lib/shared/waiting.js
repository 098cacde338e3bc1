// Waiting that an AbortSignal can end.

import { environment } from "./environment.js";
import { abortedError } from "./error.js";

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>} rejects with `aborted` as soon as the signal says so
 */
export async function untilAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortedError(signal));
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
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
