//! Prints the cosine of an image with each of several texts.
//!
//!     cargo run --release --example embed -- MODEL.gguf IMAGE TEXT...

use std::path::Path;
use std::process::ExitCode;

use clip_wasm::{ClipEncoder, Error, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, image, texts @ ..] = &arguments[..] else {
        eprintln!("usage: embed MODEL.gguf IMAGE TEXT...");
        return ExitCode::from(2);
    };
    match compare(model.as_ref(), image.as_ref(), texts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

fn compare(model: &Path, image: &Path, texts: &[String]) -> Result<()> {
    let clip = ClipEncoder::open(model)?;
    let bytes = std::fs::read(image).map_err(|e| Error::from(e).context(image.display()))?;
    let image = clip.embed_image(&bytes, true)?;
    for text in texts {
        println!("{:.4}  {text}", image.cosine(&clip.embed_text(text, true)?));
    }
    Ok(())
}
