//! What the towers are on a GPU: their work, and how long it takes by each product. Prints JSON.
//!
//!   cargo run --release --example gpu --features gpu -- MODEL.gguf

use std::time::{Duration, Instant};

use clip_wasm::gpu::{Gpu, GpuOptions, GpuWork, Product, race_now};
use clip_wasm::{ClipEncoder, Limits};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A case is timed until it has had so many calls, or so much time.
const CALLS: usize = 20;
const LONGEST: Duration = Duration::from_secs(4);

/// "a photo of a cat" and so on: 12 tokens with those of the start and the end.
const TEXT: &str = "a photo of two small dogs on the green grass";

fn main() -> Result<()> {
    let model = std::env::args().nth(1).ok_or("give the path of a GGUF model")?;
    let options = GpuOptions { allow_software: true, ..Default::default() };
    let gpu = Gpu::request_now(options.clone())?;
    let race = race_now(&gpu)?;
    let mut rows = Vec::new();
    for product in [Product::Dot, Product::Float] {
        let gpu = Gpu::request_now(GpuOptions { product, ..options.clone() })?;
        if gpu.product() != product {
            continue; // it has no dot product
        }
        let encoder = ClipEncoder::open_on_gpu(&model, Limits::default(), &gpu)?;
        let cosine = encoder.check_gpu_now()?;
        // A software adapter would take minutes.
        let counts: &[usize] = if gpu.is_software() { &[1] } else { &[1, 32] };
        for count in counts {
            rows.extend(cases(&encoder, product, *count, cosine)?);
        }
    }
    let report = json!({
        "adapter": gpu.name(),
        "isSoftware": gpu.is_software(),
        "race": { "gpu": milliseconds(race.gpu), "cpu": milliseconds(race.cpu) },
        "rows": rows,
    });
    println!("{report}");
    Ok(())
}

/// A batch of pictures and one of texts.
fn cases(
    encoder: &ClipEncoder,
    product: Product,
    count: usize,
    cosine: Option<f64>,
) -> Result<Vec<Value>> {
    let edge = encoder.info().image_size.ok_or("the model has no vision tower")?;
    let picture: Vec<u8> = (0..3 * edge * edge).map(|i| (i * 31 / 7 + i / 1009) as u8).collect();
    let (pictures, texts) = (vec![picture; count], vec![TEXT; count]);
    let tokens = encoder.tokenize(TEXT)?.pooled() + 1;
    let work = encoder.gpu_work(count, count, tokens * count)?;
    let [of_pictures, of_texts] = work[..] else { return Err("the model has one tower".into()) };
    let images = time(|| encoder.embed_squares(&pictures, true).map(drop))?;
    let strings = time(|| encoder.embed_texts(&texts, true).map(drop))?;
    let row = |inputs: String, work: GpuWork, times: Vec<f64>| {
        json!({
            "product": format!("{product:?}"),
            "inputs": inputs,
            "dispatches": work.dispatches,
            "weightBytes": work.weight_bytes,
            "bufferBytes": work.arena_bytes,
            "multiplyAdds": work.multiply_adds,
            "milliseconds": times,
            "cosine": cosine,
        })
    };
    Ok(vec![
        row(format!("{count} x {edge} x {edge} pixels"), of_pictures, images),
        row(format!("{count} x {tokens} tokens"), of_texts, strings),
    ])
}

/// Milliseconds of each call, after one that is not counted.
fn time(call: impl Fn() -> clip_wasm::Result<()>) -> Result<Vec<f64>> {
    call()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.is_empty() || times.len() < CALLS && start.elapsed() < LONGEST {
        let begin = Instant::now();
        call()?;
        times.push(milliseconds(begin.elapsed()));
    }
    Ok(times)
}

fn milliseconds(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}
