//! The command line: `embed`, `convert` and `inspect`. JSON goes to stdout, everything else to stderr.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::{Alpha, DecodeOptions, Orientation};
use clip_wasm::embedding::response;
use clip_wasm::error::{Error, Result};
use clip_wasm::model::config::Activation;
use clip_wasm::{ClipEncoder, Limits, inspect};
use indicatif::{ProgressBar, ProgressStyle};

/// CLIP embeddings of images and texts.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Raise or lower a limit on files and texts, such as pixels=200000000; may be repeated. The names are
    /// in docs/limits.md.
    #[arg(long, global = true, value_name = "NAME=NUMBER", value_parser = limit)]
    limit: Vec<(String, u64)>,
    #[command(subcommand)]
    command: Command,
}

/// Parses a limit's name and value.
fn limit(argument: &str) -> Result<(String, u64), String> {
    let pair = argument.split_once('=').and_then(|(name, most)| Some((name, most.parse().ok()?)));
    let (name, most) = pair.ok_or("give NAME=NUMBER, a whole number, such as pixels=200000000")?;
    Limits::default().set(name, most).map_err(|error| error.to_string())?;
    Ok((name.into(), most))
}

#[derive(Subcommand)]
enum Command {
    /// Print the embeddings of texts, then of images, as JSON.
    Embed {
        /// A CLIP model in GGUF format.
        #[arg(long)]
        model: PathBuf,
        /// A text to embed; may be repeated.
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        text: Vec<String>,
        /// A JPEG, PNG, WebP, GIF, BMP or TIFF file to embed; may be repeated.
        #[arg(long, value_name = "FILE")]
        image: Vec<PathBuf>,
        /// Print the projections unchanged instead of unit vectors.
        #[arg(long)]
        no_normalize: bool,
        /// Read images as stored, without applying their EXIF orientation. TIFFs are turned all the same.
        #[arg(long)]
        ignore_orientation: bool,
        /// How to handle transparency: drop it (transparent pixels keep their colour), or put white or
        /// black behind the image.
        #[arg(long, value_name = "ALPHA", default_value = "drop", value_parser = Alpha::named)]
        alpha: Alpha,
    },
    /// Convert a checkpoint to a GGUF file.
    Convert {
        /// A directory in the form of Hugging Face or open_clip, or a .safetensors or .bin file in one.
        source: PathBuf,
        /// How the weights are stored.
        #[arg(long = "type", default_value = "q8_0", value_parser = FileType::named)]
        file_type: FileType,
        /// The activation, gelu or quick_gelu, if the checkpoint's configuration is wrong or does not state
        /// it.
        #[arg(long, value_parser = Activation::named)]
        activation: Option<Activation>,
        /// The file to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Print a summary of a GGUF file: its towers, sizes and types.
    Inspect {
        /// A GGUF file.
        model: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { limit, command } = Arguments::parse();
    let mut limits = Limits::default();
    let set = limit.iter().try_for_each(|(name, most)| limits.set(name, *most));
    let result = set.and_then(|()| run(command, &limits));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, limits: &Limits) -> Result<()> {
    match command {
        Command::Embed { model, text, image, no_normalize, ignore_orientation, alpha } => {
            let orientation =
                if ignore_orientation { Orientation::Ignore } else { Orientation::Exif };
            let options = DecodeOptions { orientation, alpha };
            let encoder = || ClipEncoder::open_within(&model, *limits);
            embed(encoder, &text, &image, options, !no_normalize)
        }
        Command::Convert { source, file_type, activation, output } => {
            convert_with_progress(&source, &output, file_type, activation, limits)
        }
        Command::Inspect { model } => inspect::inspect(&model, limits).map(|text| print!("{text}")),
    }
}

fn embed(
    encoder: impl Fn() -> Result<ClipEncoder>,
    texts: &[String],
    images: &[PathBuf],
    options: DecodeOptions,
    normalize: bool,
) -> Result<()> {
    if texts.is_empty() && images.is_empty() {
        return Err(Error::empty_input("give at least one --text or --image"));
    }
    let encoder = encoder()?;
    let mut embeddings = Vec::new();
    for text in texts {
        embeddings.push(encoder.embed_text(text, normalize)?);
    }
    for path in images {
        let bytes = fs::read(path).map_err(|error| Error::from(error).context(path.display()))?;
        let embedding = encoder.embed_image_with(&bytes, options, normalize);
        embeddings.push(embedding.map_err(|error| error.context(path.display()))?);
    }
    println!("{}", response(&embeddings));
    Ok(())
}

fn convert_with_progress(
    source: &Path,
    output: &Path,
    file_type: FileType,
    activation: Option<Activation>,
    limits: &Limits,
) -> Result<()> {
    let style = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is a constant");
    let bar = ProgressBar::new(0).with_style(style);
    convert(source, output, file_type, activation, limits, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    eprintln!("wrote {}", output.display());
    Ok(())
}
