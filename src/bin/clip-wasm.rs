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
    /// Raise or lower what files and texts may ask for, such as pixels=200000000; may be given again. The names are
    /// in docs/limits.md.
    #[arg(long, global = true, value_name = "NAME=NUMBER", value_parser = limit)]
    limit: Vec<(String, u64)>,
    #[command(subcommand)]
    command: Command,
}

/// A limit's name and its value.
fn limit(argument: &str) -> Result<(String, u64), String> {
    let pair = argument.split_once('=').and_then(|(name, most)| Some((name, most.parse().ok()?)));
    let (name, most) = pair.ok_or("give a name, = and a whole number, such as pixels=200000000")?;
    Limits::default().set(name, most).map_err(|error| error.to_string())?;
    Ok((name.into(), most))
}

#[derive(Subcommand)]
enum Command {
    /// Print the embeddings of texts, then of images, as JSON.
    Embed {
        /// A CLIP model in GGUF form.
        #[arg(long)]
        model: PathBuf,
        /// A text; may be given again.
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        text: Vec<String>,
        /// A JPEG, PNG, WebP, GIF, BMP or TIFF file; may be given again.
        #[arg(long, value_name = "FILE")]
        image: Vec<PathBuf>,
        /// Print the projections as they are instead of unit vectors.
        #[arg(long)]
        no_normalize: bool,
        /// Read images as they are stored instead of turned as their EXIF says. TIFFs are turned all the same.
        #[arg(long)]
        ignore_orientation: bool,
        /// What becomes of transparency: drop, which lets the colour beneath show, white or black.
        #[arg(long, value_name = "ALPHA", default_value = "drop", value_parser = Alpha::named)]
        alpha: Alpha,
    },
    /// Make a GGUF file of a checkpoint.
    Convert {
        /// A directory as Hugging Face or open_clip lays it out, or a .safetensors or .bin file in one.
        source: PathBuf,
        /// How the weights are stored.
        #[arg(long = "type", default_value = "q8_0", value_parser = FileType::named)]
        file_type: FileType,
        /// Overrides the activation that the checkpoint's configuration gives or leaves out: gelu or
        /// quick_gelu.
        #[arg(long, value_parser = Activation::named)]
        activation: Option<Activation>,
        /// The file to make.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Say what a GGUF file is: its towers, sizes and types.
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
