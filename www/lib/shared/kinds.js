// What a value is, whichever realm made it: `instanceof` knows only the classes of its own realm, and values can come
// from a frame, or in tests from `node:vm`.

/**
 * @param {unknown} value
 * @returns {string} such as `Blob`, `ImageData` or `Object`
 */
export function kindOf(value) {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

/**
 * @param {unknown} value
 * @returns {value is Blob}
 */
export function isBlob(value) {
  return ["Blob", "File"].includes(kindOf(value));
}

/**
 * @param {unknown} value
 * @returns {value is File}
 */
export function isFile(value) {
  return kindOf(value) === "File";
}

/**
 * @param {unknown} value
 * @returns {value is URL}
 */
export function isUrl(value) {
  return kindOf(value) === "URL";
}

/**
 * @param {unknown} value a file's bytes: an array of them, or a buffer. Arrays of other numbers are no bytes
 * @returns {value is Uint8Array | ArrayBuffer}
 */
export function isBytes(value) {
  return ["Uint8Array", "ArrayBuffer", "SharedArrayBuffer"].includes(kindOf(value));
}
