//! Which is faster on this machine: its GPU, and by which product, or one thread of its processor.

use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::arena::{Activations, Arena, Count};
use super::device::{Gpu, Product};
use super::linear::{Into, Linear};
use super::readback::read;
use super::steps::Recorder;
use super::weights::{quantised, storage};
use crate::cpu::kernels::Activations as CpuActivations;
use crate::cpu::kernels::{Finish, Int8Matrix, Output, int8_matmul, packing};
use crate::error::{Error, Result};

/// The shape of the product, which is that of a ViT-B/32's first layer of an MLP.
const ROWS: usize = 50;
const INPUTS: usize = 768;
const OUTPUTS: usize = 3072;
/// So many are as much work as a picture is for that tower: 4.4 billion multiply-adds.
const PRODUCTS: usize = 37;
const RUNS: usize = 3;
/// If all products would take so long, one has to do.
const SLOW: Duration = Duration::from_secs(1);

/// How long the products of a picture take.
#[derive(Clone, Copy, Debug)]
pub struct Race {
    /// On the GPU, from the submission to the result, by the product that is faster there.
    pub gpu: Duration,
    /// On one thread of the processor.
    pub cpu: Duration,
}

/// Times them, for some 50 ms. From then on the GPU multiplies by the product that was faster.
///
/// # Errors
/// `gpu_lost`, `low_memory`.
pub async fn race(gpu: &Gpu) -> Result<Race> {
    let mut fastest = (Duration::MAX, gpu.product());
    for product in [Product::Dot, Product::Float] {
        if gpu.choose_product(product) {
            let time = time_product(gpu).await?;
            if time < fastest.0 {
                fastest = (time, product);
            }
        }
    }
    gpu.choose_product(fastest.1);
    Ok(Race { gpu: fastest.0, cpu: time_cpu()? })
}

/// [`race`] for programs that may wait.
///
/// # Errors
/// Those of [`race`].
#[cfg(not(target_arch = "wasm32"))]
pub fn race_now(gpu: &Gpu) -> Result<Race> {
    super::ready(race(gpu))
}

/// The least time of the products, as the GPU multiplies now.
async fn time_product(gpu: &Gpu) -> Result<Duration> {
    let (arena, counts) = Arena::of_count(gpu, Count::Rows, ROWS as u32)?;
    let matrix = quantised(gpu, "race", &values(OUTPUTS * INPUTS), OUTPUTS, INPUTS)?;
    let linear = Linear::without_bias(gpu, Arc::new(matrix));
    let make = |bytes: usize| storage(gpu, "race", bytes as u64);
    let from = Activations {
        quants: make(ROWS * INPUTS),
        factors: make(ROWS * INPUTS / 4),
        floats: make(4),
    };
    let out = make(4 * ROWS * OUTPUTS);
    let mut recorder = Recorder::new(gpu, &arena);
    for _ in 0..PRODUCTS {
        linear.record(&mut recorder, Count::Rows, &from, Into::Floats(&out));
    }
    let steps = recorder.steps;
    let readback = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("race"),
        size: 16,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let run = async |products: usize| {
        let start = Instant::now();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        steps[..products].iter().for_each(|step| step.dispatch(&mut pass, &counts));
        drop(pass);
        encoder.copy_buffer_to_buffer(&out, 0, &readback, 0, 16);
        gpu.queue().submit([encoder.finish()]);
        read(gpu, &readback, 16).await?;
        Ok::<_, Error>(start.elapsed())
    };
    run(1).await?; // compiles the kernel
    let mut least = run(1).await? * PRODUCTS as u32;
    if least < SLOW {
        for _ in 0..RUNS {
            least = least.min(run(PRODUCTS).await?);
        }
    }
    Ok(least)
}

fn time_cpu() -> Result<Duration> {
    let mut weight = Int8Matrix::zeros(OUTPUTS, INPUTS, packing(8, 0))?;
    let row = values(INPUTS);
    (0..OUTPUTS).for_each(|i| weight.quantise_row(i, &row));
    let mut activations = CpuActivations::default();
    activations.quantise(&values(ROWS * INPUTS), INPUTS, weight.packing().run);
    let mut out = vec![0.0; ROWS * OUTPUTS];
    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        let out = Output::whole(&mut out, OUTPUTS);
        int8_matmul(&weight, &activations, &[], Finish::Store, out);
        least = least.min(start.elapsed());
    }
    Ok(least * PRODUCTS as u32)
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect()
}
