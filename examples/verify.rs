//! Compares a ViT-B/32 file with OpenAI's weights to the cosines that OpenAI's notebook prints.
//!
//!     cargo run --release --example verify -- MODEL.gguf PHOTOS... [--table TABLE.json]
//!
//! PHOTOS are directories; photos of the table that none of them contains are skipped with a message.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clip_wasm::{ClipEncoder, Error};
use serde::Deserialize;

/// The published table has two decimals, and the notebook used bicubic resizing on pixels of other
/// decoders.
const TOLERANCE: f64 = 0.01;
/// For files that round their weights.
const QUANTISED_TOLERANCE: f64 = 0.02;

#[derive(Deserialize)]
struct Table {
    prefix: String,
    images: Vec<String>,
    texts: Vec<String>,
    /// One row per text, one column per image.
    cosine: Vec<Vec<f64>>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let table = arguments.iter().position(|argument| argument == "--table").map(|at| {
        let table = arguments.drain(at..).nth(1);
        PathBuf::from(table.unwrap_or_default())
    });
    let [model, photos @ ..] = &arguments[..] else {
        eprintln!("usage: verify MODEL.gguf PHOTOS... [--table TABLE.json]");
        return ExitCode::from(2);
    };
    let photos: Vec<&Path> = photos.iter().map(Path::new).collect();
    match verify(Path::new(model), &photos, table) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

fn verify(model: &Path, photos: &[&Path], table: Option<PathBuf>) -> Result<bool, Error> {
    let path = table.unwrap_or_else(|| photos[0].join("similarity.openai-vit-b-32.json"));
    let text =
        std::fs::read_to_string(&path).map_err(|e| Error::from(e).context(path.display()))?;
    let table: Table = serde_json::from_str(&text).expect("the table is part of the project");
    let encoder = ClipEncoder::open(model)?;
    let quantised = encoder.info().file_type.starts_with('q');
    let tolerance = if quantised { QUANTISED_TOLERANCE } else { TOLERANCE };

    let mut texts = Vec::new();
    for text in &table.texts {
        texts.push(encoder.embed_text(&format!("{}{text}", table.prefix), true)?);
    }
    let mut worst = 0.0f64;
    let mut compared = 0;
    println!("cosine (published) of each photo with its eight captions");
    for (column, name) in table.images.iter().enumerate() {
        let Some(path) = photos.iter().map(|photos| photos.join(name)).find(|path| path.exists())
        else {
            println!("{name:22} skipped: the photo is not here");
            continue;
        };
        let image = encoder.embed_image(&std::fs::read(&path)?, true)?;
        print!("{name:22}");
        for (row, text) in texts.iter().enumerate() {
            let products = image.values().iter().zip(text.values());
            let cosine: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let published = table.cosine[row][column];
            worst = worst.max((cosine - published).abs());
            compared += 1;
            print!(" {cosine:.3} ({published:.2})");
        }
        println!();
    }
    let equal = compared > 0 && worst <= tolerance;
    println!(
        "{compared} cosines, the largest difference {worst:.4}, {tolerance} allowed: {}",
        if equal { "the published table is reproduced" } else { "NOT the published table" }
    );
    Ok(equal)
}
