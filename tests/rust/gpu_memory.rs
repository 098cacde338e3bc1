//! That memory stays the same however many inputs a GPU computes. Skipped, aloud, where there is no GPU.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../support/counting.rs"]
mod counting;

use std::sync::atomic::Ordering::Relaxed;

use clip_wasm::gpu::{Gpu, GpuOptions};
use clip_wasm::{ClipEncoder, Limits};
use counting::{Counting, HELD};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Inputs; `./build.sh soak` has more.
const USUAL: usize = 2000;
/// Inputs that are computed at a time.
const PASS: usize = 64;

/// This program's memory may differ by so much: what waits to be freed, or to be used again.
const NOISE: usize = 64 << 10;

/// Must be the only test in this file: another one's memory would be counted too. The driver's own memory is not: lavapipe
/// takes some with every dispatch and keeps it.
#[test]
fn memory_is_flat_over_many_inputs() {
    let options = GpuOptions { allow_software: true, ..Default::default() };
    let gpu = match Gpu::request_now(options) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("SKIPPED: the memory of a GPU: {error}");
            return;
        }
    };
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/www/models/demo.gguf");
    let encoder = ClipEncoder::open_on_gpu(model, Limits::default(), &gpu).unwrap();
    let edge = encoder.info().image_size.unwrap();
    let square: Vec<u8> = (0..3 * edge * edge).map(|i| (i * 31 / 7) as u8).collect();
    let squares = vec![square; 4];
    let texts: Vec<String> =
        (squares.len()..PASS).map(|i| "a red circle ".repeat(i % 10)).collect();
    let compute = || {
        for embedded in [encoder.embed_squares(&squares, true), encoder.embed_texts(&texts, true)] {
            assert!(embedded.unwrap().iter().all(Result::is_ok));
        }
    };
    (0..4).for_each(|_| compute());
    let (held, allocated) = (HELD.load(Relaxed), gpu.allocated_bytes());
    let inputs = std::env::var("CLIP_SOAK").map_or(USUAL, |inputs| inputs.parse().unwrap());
    (0..inputs.div_ceil(PASS)).for_each(|_| compute());
    let now = (HELD.load(Relaxed), gpu.allocated_bytes());
    println!("before {inputs} inputs {held} and {allocated:?} bytes, after them {now:?}");
    assert!(now.0 <= held + NOISE, "{held} bytes became {}", now.0);
    assert_eq!(now.1, allocated);
}
