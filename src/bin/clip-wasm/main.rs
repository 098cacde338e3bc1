//! The command line: `embed`, `convert` and `inspect`. JSON goes to stdout, everything else to stderr.

mod inputs;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::{Alpha, DecodeOptions, Orientation};
use clip_wasm::embedding::response;
use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::model::config::Activation;
use clip_wasm::{ClipEncoder, Embedding, Limits, inspect};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

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
        /// A CLIP model in GGUF format.
        #[arg(long)]
        model: PathBuf,
        /// A text to embed; may be repeated.
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        text: Vec<String>,
        /// A JPEG, PNG, WebP, GIF, BMP or TIFF file to embed; may be repeated.
        #[arg(long, value_name = "FILE")]
        image: Vec<PathBuf>,
        /// Embed each line of stdin too: the path of an image if it is one, otherwise a text.
        #[arg(long)]
        stdin: bool,
        /// What the lines of stdin are, if they are all of one kind.
        #[arg(long, value_name = "KIND", value_enum, default_value_t = Lines::Auto, requires = "stdin")]
        lines: Lines,
        /// One JSON as the endpoint's, or one line of JSON for each input as soon as it is embedded, with its
        /// error in its place.
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
            text,
            image,
            stdin,
            lines,
            output,
            no_normalize,
            ignore_orientation,
            alpha,
        } => {
            if text.is_empty() && image.is_empty() && !stdin {
                let message = "give at least one --text or --image, or --stdin";
                return Err(Error::new(ErrorKind::EmptyInput, message));
            }
            let orientation =
                if ignore_orientation { Orientation::Ignore } else { Orientation::Exif };
            let options = DecodeOptions { orientation, alpha };
            let encoder = ClipEncoder::open_within(&model, *limits)?;
            let embed = |input: &Input| input.embed(&encoder, options, !no_normalize);
            let given =
                text.into_iter().map(Input::Text).chain(image.into_iter().map(Input::Image));
            let given = given.map(|input| Ok(Line { text: input.name(), input: Ok(input) }));
            let lines = stdin.then(|| inputs::lines(io::stdin().lock(), lines));
            let all = given.chain(lines.into_iter().flatten());
            match output {
                Format::Json => print_all(all, embed),
                Format::Jsonl => print_each(all, embed),
            }
        }
        Command::Convert { source, file_type, activation, output } => {
            convert_with_progress(&source, &output, file_type, activation, limits)
        }
        Command::Inspect { model } => inspect::inspect(&model, limits).map(|text| print!("{text}")),
    }
}

/// Prints one JSON when all is embedded. The first error ends it.
fn print_all(
    inputs: impl Iterator<Item = Result<Line>>,
    embed: impl Fn(&Input) -> Result<Embedding>,
) -> Result<()> {
    let embeddings: Result<Vec<_>> = inputs.map(|line| embed(&line?.input?)).collect();
    println!("{}", response(&embeddings?));
    Ok(())
}

/// Prints a line for each input as soon as it is embedded, so that this program can stand in a pipe. Ends
/// without an error if nobody reads any more.
fn print_each(
    inputs: impl Iterator<Item = Result<Line>>,
    embed: impl Fn(&Input) -> Result<Embedding>,
) -> Result<()> {
    let mut output = io::stdout().lock();
    let mut failures = 0;
    for (index, line) in inputs.enumerate() {
        let Line { text, input } = line?;
        let json = match input.and_then(|input| embed(&input)) {
            Ok(embedding) => {
                json!({ "index": index, "input": text, "embedding": embedding.values() })
            }
            Err(error) => {
                failures += 1;
                failure(index, &text, &error)
            }
        };
        match writeln!(output, "{json}").and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    if failures > 0 {
        eprintln!("{failures} inputs could not be embedded: their lines have an error");
    }
    Ok(())
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
