//! The command line: `embed`, `convert` and `inspect`. JSON goes to stdout, everything else to stderr.

mod batches;
mod device;
#[cfg(feature = "hub")]
mod hub;
mod hub_name;
mod inputs;
mod model;
mod progress;
#[cfg(feature = "hub")]
mod web;

use std::io::{self, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::{Parser, Subcommand};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::{Alpha, DecodeOptions, Orientation};
use clip_wasm::embedding::response;
use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::model::config::Activation;
use clip_wasm::{Limits, inspect, use_threads};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use batches::{Embedded, Embedder};
use device::Device;
use inputs::{Input, Line, Lines};

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
    /// Print the embeddings of texts, then of images, then of the lines of stdin, as JSON.
    Embed {
        /// A CLIP model: a GGUF file, or the name of a model on the Hugging Face Hub, such as
        /// openai/clip-vit-base-patch32, owner/name@revision or owner/name/file.gguf. A checkpoint of the
        /// Hub is converted once. HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are as for
        /// huggingface_hub.
        #[arg(long, value_name = "FILE|NAME")]
        model: PathBuf,
        /// Of a model given by its name: the type of its weights, such as q4_0. By default q8_0, if there is
        /// such a file.
        #[arg(long = "type", value_name = "TYPE")]
        file_type: Option<String>,
        /// A text to embed; may be repeated.
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        text: Vec<String>,
        /// A JPEG, PNG, WebP, GIF, BMP or TIFF file to embed, its http(s) address, or a folder with such
        /// files, also in its folders, in the order of their names; may be repeated.
        #[arg(long, value_name = "FILE|URL|FOLDER")]
        image: Vec<PathBuf>,
        /// Embed each line of stdin too: the path or the address of an image if it is one, otherwise a text.
        #[arg(long)]
        stdin: bool,
        /// What the lines of stdin are, if they are all of one kind.
        #[arg(long, value_name = "KIND", value_enum, default_value_t = Lines::Auto, requires = "stdin")]
        lines: Lines,
        /// One JSON as the endpoint's, or one line of JSON for each input as soon as it is embedded, with its
        /// error in its place. With lines, the exit status is 0 even if some failed: stderr says how many.
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Json)]
        output: Format,
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
        /// How many threads share the work: as many as there are cores, if no number is given. The vectors
        /// are the same. For f32 and f16 files, RAYON_NUM_THREADS says how many.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
        threads: Option<u16>,
        /// What computes: this processor, a GPU, or a GPU if there is one that computes right. For a program built with
        /// the feature `gpu`.
        #[arg(long, value_name = "DEVICE", value_enum, default_value_t = Device::Cpu)]
        device: Device,
    },
    /// Convert a checkpoint to a GGUF file.
    Convert {
        /// A directory in the form of Hugging Face or open_clip, a .safetensors or .bin file in one, or the
        /// name of a model on the Hugging Face Hub.
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
        /// A GGUF file, or the name of a model on the Hugging Face Hub.
        model: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Jsonl,
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
        Command::Embed {
            model,
            file_type,
            text,
            image,
            stdin,
            lines,
            output,
            no_normalize,
            ignore_orientation,
            alpha,
            threads,
            device,
        } => {
            if text.is_empty() && image.is_empty() && !stdin {
                let message = "give at least one --text or --image, or --stdin";
                return Err(Error::new(ErrorKind::EmptyInput, message));
            }
            let orientation =
                if ignore_orientation { Orientation::Ignore } else { Orientation::Exif };
            let options = DecodeOptions { orientation, alpha };
            let model = model::gguf(&model, file_type.as_deref(), limits)?;
            let threads = threads.map(usize::from).unwrap_or_else(cores);
            let encoder = device.open(&model, limits, threads)?;
            use_threads(threads)?;
            let images: Vec<Vec<Input>> =
                image.into_iter().map(inputs::images_at).collect::<Result<_>>()?;
            let given: Vec<Input> =
                text.into_iter().map(Input::Text).chain(images.into_iter().flatten()).collect();
            let count = (!stdin).then_some(given.len() as u64);
            let given =
                given.into_iter().map(|input| Line { text: input.name(), input: Ok(input) });
            let lines = stdin.then(|| inputs::lines(BufReader::new(io::stdin()), lines));
            let all = given.map(Ok).chain(lines.into_iter().flatten());
            let embedder =
                Embedder { encoder: &encoder, options, normalize: !no_normalize, limits: *limits };
            match output {
                Format::Json => print_all(all, embedder, count),
                Format::Jsonl => print_each(all, embedder, count),
            }
        }
        Command::Convert { source, file_type, activation, output } => {
            let source = model::checkpoint(&source, limits)?;
            convert_with_progress(&source, &output, file_type, activation, limits)
        }
        Command::Inspect { model } => {
            let model = model::gguf(&model, None, limits)?;
            let text = inspect::inspect(&model, limits)?;
            let mut output = io::stdout().lock();
            let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
            unless_closed(written).map(drop)
        }
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Prints one JSON when all is embedded. The first error ends it.
fn print_all(
    inputs: impl Iterator<Item = Result<Line>> + Send + 'static,
    embedder: Embedder,
    count: Option<u64>,
) -> Result<()> {
    let bar = progress_bar(count);
    let mut embeddings = Vec::new();
    embedder.each(inputs, |Embedded { embedding, .. }| {
        embeddings.push(embedding?);
        bar.inc(1);
        Ok(true)
    })?;
    bar.finish_and_clear();
    unless_closed(writeln!(io::stdout(), "{}", response(&embeddings))).map(drop)
}

/// Prints a line for each input as soon as it is embedded, so that this program can stand in a pipe. Ends
/// without an error if nobody reads any more.
fn print_each(
    inputs: impl Iterator<Item = Result<Line>> + Send + 'static,
    embedder: Embedder,
    count: Option<u64>,
) -> Result<()> {
    // Lines on the same screen show the progress themselves.
    let bar = progress_bar(count.filter(|_| !io::stdout().is_terminal()));
    let mut output = io::stdout().lock();
    let (mut index, mut failures) = (0, 0);
    embedder.each(inputs, |Embedded { text, embedding }| {
        let json = match embedding {
            Ok(embedding) => {
                json!({ "index": index, "input": text, "embedding": embedding.values() })
            }
            Err(error) => {
                failures += 1;
                failure(index, &text, &error)
            }
        };
        index += 1;
        bar.inc(1);
        unless_closed(writeln!(output, "{json}").and_then(|()| output.flush()))
    })?;
    bar.finish_and_clear();
    if failures > 0 {
        eprintln!("inputs that could not be embedded, whose lines have an error: {failures}");
    }
    Ok(())
}

/// Whether what was written can be read. That nobody reads any more is no error.
fn unless_closed(written: io::Result<()>) -> Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

/// A bar for so many inputs; none if their number is not known, or if they are done before one could be read.
fn progress_bar(count: Option<u64>) -> ProgressBar {
    const WORTHWHILE: u64 = 10;
    match count.filter(|count| *count >= WORTHWHILE) {
        Some(count) => progress::inputs(count),
        None => ProgressBar::hidden(),
    }
}

fn failure(index: usize, input: &str, error: &Error) -> Value {
    json!({
        "index": index,
        "input": input,
        "error": { "code": error.code(), "message": error.to_string() },
        "status_code": error.kind().status_code(),
    })
}

fn convert_with_progress(
    source: &Path,
    output: &Path,
    file_type: FileType,
    activation: Option<Activation>,
    limits: &Limits,
) -> Result<()> {
    let bar = progress::bytes("");
    convert(source, output, file_type, activation, limits, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    eprintln!("wrote {}", output.display());
    Ok(())
}
