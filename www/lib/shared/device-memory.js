// How much memory this device has, as far as a page can tell.

/** Used if the browser does not report the memory. */
const ASSUMED_GIGABYTES = 4;

/** @returns {number} bytes; browsers round the number, and report 8 GB at most */
export function deviceMemory() {
  const { deviceMemory = ASSUMED_GIGABYTES } = /** @type {{ deviceMemory?: number }} */ (globalThis.navigator ?? {});
  return deviceMemory * 2 ** 30;
}
