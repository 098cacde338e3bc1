// Comma-separated values (RFC 4180).

/**
 * @param {(string | number)[]} values
 * @returns {string} a line; texts are quoted
 */
export function csvLine(values) {
  return `${values.map((value) => (typeof value === "string" ? `"${value.replaceAll('"', '""')}"` : value)).join(",")}\r\n`;
}
