// The lock with which tabs and workers share a stored model.

import { isDomException } from "../shared/error.js";

/**
 * The Web Lock of a stored model: exclusive for adding to it or deleting it, shared for reading it.
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
    // A frame without an origin of its own has no locks, and no storage that they would protect.
    if (asked || !isDomException(error, "SecurityError")) throw error;
    return work(null);
  });
}
