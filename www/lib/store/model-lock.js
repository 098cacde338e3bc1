// The lock by which tabs and workers share what is stored of a model.

import { isDomException } from "../shared/error.js";

/**
 * The Web Lock of a model: whoever adds to what is kept of it, or deletes it, has it alone; readers share it.
 * @template T
 * @param {string} url
 * @param {LockOptions} options
 * @param {(lock: Lock | null) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function modelLock(url, options, work) {
  if (!globalThis.navigator?.locks) return work(null);
  let asked = false;
  const lock = navigator.locks.request(`clip-wasm-models ${url}`, options, (lock) => {
    asked = true;
    return work(lock);
  });
  return lock.catch((error) => {
    // A frame without an origin of its own has no locks, nor anything that they would guard.
    if (asked || !isDomException(error, "SecurityError")) throw error;
    return work(null);
  });
}
