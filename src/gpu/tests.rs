//! Each kernel against the CPU's, over awkward sizes. Skipped, aloud, where there is no adapter.

mod attention;
mod exact;
mod product;
mod rows;

use std::sync::OnceLock;

use super::arena::{Activations, Arena, Count};
use super::device::{Gpu, GpuOptions};
use super::readback::{read, ready};
use super::steps::{Recorder, Step};
use super::weights::storage;

/// Numbers of rows around the edges of tiles, and those of real inputs.
const AWKWARD: [usize; 11] = [1, 7, 31, 32, 33, 49, 50, 63, 64, 65, 77];

/// The adapter that all tests share, if there is one.
fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let request = || {
        let options = GpuOptions { allow_software: true, ..Default::default() };
        match Gpu::request_now(options) {
            Ok(gpu) => {
                println!("GPU: {}", gpu.name());
                Some(gpu)
            }
            Err(error) => {
                println!("SKIPPED: the kernels of a GPU: {error}");
                None
            }
        }
    };
    GPU.get_or_init(request).as_ref()
}

/// Awkward, heavy-tailed and repeatable values, with zeros.
fn values(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    let value = |i| match i % 97 {
        0 => 0.0,
        2 => 30.0 * next(),
        _ => next() * next(),
    };
    (0..n).map(value).collect()
}

/// Buffers for activations `[rows, width]` in both forms.
fn activations(gpu: &Gpu, rows: usize, width: usize) -> Activations {
    let make = |bytes: usize| storage(gpu, "a test's", bytes as u64);
    Activations {
        quants: make(rows * width),
        factors: make(rows * width.div_ceil(32) * 8),
        floats: make(4 * rows * width),
    }
}

/// Runs the steps that `record` adds, with this number of rows.
fn run(gpu: &Gpu, count: Count, rows: usize, record: impl FnOnce(&mut Recorder)) {
    let (arena, counts) = Arena::of_count(gpu, count, rows as u32).unwrap();
    let mut recorder = Recorder::new(gpu, &arena);
    record(&mut recorder);
    let steps: Vec<Step> = recorder.steps;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    steps.iter().for_each(|step| step.dispatch(&mut pass, &counts));
    drop(pass);
    gpu.queue().submit([encoder.finish()]);
}

/// The first `len` f32 of a buffer.
fn floats(gpu: &Gpu, buffer: &wgpu::Buffer, len: usize) -> Vec<f32> {
    let bytes = 4 * len as u64;
    let readback = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &readback, 0, bytes);
    gpu.queue().submit([encoder.finish()]);
    ready(read(gpu, &readback, bytes)).unwrap()
}

/// The first `len` int8 of a buffer.
fn quants(gpu: &Gpu, buffer: &wgpu::Buffer, len: usize) -> Vec<i8> {
    let words = floats(gpu, buffer, len.div_ceil(4));
    let bytes = words.iter().flat_map(|word| word.to_bits().to_le_bytes());
    bytes.take(len).map(|byte| byte as i8).collect()
}

/// Fails if a value has other bits than the expected one.
fn assert_equal(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // Either zero will do.
        assert!(got == want, "{what} at {i}: {got:e} for {want:e}");
    }
}

/// Fails if a value is further from the expected one than `bound` of the largest.
fn assert_close(got: &[f32], want: &[f32], bound: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs() / largest;
        assert!(error <= bound, "{what} at {i}: {got} for {want}, off by {error} of the largest");
    }
}
