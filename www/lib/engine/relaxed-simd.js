// Whether this browser has relaxed SIMD, without which it refuses the builds that use it.

/**
 * A module with one function, `(v128, v128, v128) -> v128`, which is one relaxed dot product. An engine without
 * relaxed SIMD rejects it as invalid.
 */
export const RELAXED_DOT = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
  0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, // the function's type
  0x03, 0x02, 0x01, 0x00, // the function
  0x0a, 0x0d, 0x01, 0x0b, 0x00, // its code
  0x20, 0x00, 0x20, 0x01, 0x20, 0x02, // the three parameters
  0xfd, 0x93, 0x02, // i32x4.relaxed_dot_i8x16_i7x16_add_s
  0x0b,
]);

export const hasRelaxedSimd = "WebAssembly" in globalThis && WebAssembly.validate(RELAXED_DOT);
