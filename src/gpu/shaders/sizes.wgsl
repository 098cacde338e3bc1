// What every kernel is given: how many rows there are in this call (x), and sizes that never change.
struct Sizes { n: u32, k: u32, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32 }
@group(0) @binding(0) var<uniform> count: vec4<u32>;
@group(0) @binding(1) var<uniform> sizes: Sizes;
