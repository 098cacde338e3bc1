// How much memory this device has, as far as a page can tell.

/** Browsers that do not tell are taken to have 4 GB. */
const ASSUMED_GIGABYTES = 4;

/** @returns {number} bytes; browsers round them, and tell 8 GB at most */
export function deviceMemory() {
  const { deviceMemory = ASSUMED_GIGABYTES } = /** @type {{ deviceMemory?: number }} */ (globalThis.navigator ?? {});
  return deviceMemory * 2 ** 30;
}
