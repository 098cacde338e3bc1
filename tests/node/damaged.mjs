// Valid input with a few bytes changed, by damage or by malice.

import fc from "fast-check";

/** @typedef {{ kind: "flip" | "cut" | "drop" | "twice" | "insert" | "lines", at: number, length: number, bytes: Uint8Array }} Change */

/** Bytes that have a meaning to parsers more often than others. */
const INSERTED = fc.oneof(
  fc.uint8Array({ maxLength: 8 }),
  fc.constantFrom("\r\n", "\n", "\0", "--", '"', "\\", "{", "[", "}", ",", "\r\n\r\n", "\u{ff}", "%", ";", "filename=", "1e999").map((text) => Buffer.from(text, "latin1")),
);

const CHANGE = fc.record({
  kind: /** @type {fc.Arbitrary<Change["kind"]>} */ (fc.constantFrom("flip", "flip", "cut", "drop", "twice", "insert", "insert", "lines")),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 200 }),
  bytes: INSERTED,
});

/**
 * @param {Uint8Array} right
 * @returns {fc.Arbitrary<Uint8Array<ArrayBuffer>>} it with one to four changes
 */
export function damaged(right) {
  return fc.array(CHANGE, { minLength: 1, maxLength: 4 }).map((changes) => new Uint8Array(changes.reduce(change, right)));
}

/**
 * @param {Uint8Array} whole
 * @param {Change} change `at`: a share of the bytes
 * @returns {Uint8Array}
 */
function change(whole, { kind, at: share, length, bytes }) {
  const at = Math.floor(share * whole.length);
  const [before, after] = [whole.subarray(0, at), whole.subarray(at)];
  switch (kind) {
    case "flip": {
      const [first = 0] = after;
      return Buffer.concat([before, after.length ? [first ^ (1 << length % 8)] : [], after.subarray(1)].map((part) => Buffer.from(part)));
    }
    case "cut":
      return before;
    case "drop":
      return Buffer.concat([before, after.subarray(length)]);
    case "twice":
      return Buffer.concat([before, after.subarray(0, length), after]);
    case "insert":
      return Buffer.concat([before, bytes, after]);
    case "lines":
      return Buffer.from(Buffer.from(whole).toString("latin1").replaceAll("\r\n", "\n"), "latin1");
  }
}
