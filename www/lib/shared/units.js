// Sizes and times, as people read them.

/**
 * @param {number} count bytes
 * @returns {string} decimal, as browsers show downloads
 */
export function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
