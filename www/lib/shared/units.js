// Sizes and times as text.

/**
 * @param {number} count bytes
 * @param {number} [digits] after the decimal point
 * @returns {string} decimal, as browsers show downloads
 */
export function megabytes(count, digits = 1) {
  return `${(count / 1e6).toFixed(digits)} MB`;
}

/**
 * @param {number} count bytes
 * @returns {string}
 */
export function gigabytes(count) {
  return `${(count / 1e9).toFixed(1)} GB`;
}

/**
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
