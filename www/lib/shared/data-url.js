// The bytes of a `data:` URL. They are decoded here, because a page's Content-Security-Policy may forbid to fetch them.

/**
 * @param {string} url
 * @returns {Uint8Array<ArrayBuffer> | null} `null` if it is not a `data:` URL. Throws if its base64 is invalid
 */
export function bytesOfDataUrl(url) {
  const [start, base64] = /^data:[^,]*?(;\s*base64)?\s*,/i.exec(url) ?? [];
  if (start === undefined) return null;
  const data = url.slice(start.length).replace(/%([0-9a-f]{2})/gi, (_, byte) => String.fromCharCode(parseInt(byte, 16)));
  return Uint8Array.from(base64 ? atob(data) : data, (character) => character.charCodeAt(0));
}
