//! What `embed` is to embed: the options `--text` and `--image`, and the lines of stdin.

use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use clip_wasm::decode::DecodeOptions;
use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::{ClipEncoder, Embedding};

/// A line may have so many bytes: more than any path, and than the longest text that a model reads.
const LONGEST_LINE: u64 = 16 << 20;

/// Extensions of image files, those that are refused by name included. A line that ends in one is an image,
/// even if there is no such file: its path must not be embedded as a text.
const IMAGE_EXTENSIONS: [&str; 16] = [
    "avif", "bmp", "dib", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "jxl", "png", "svg",
    "tif", "tiff", "webp",
];

/// How the lines of stdin are understood.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Lines {
    /// Files are images, and everything else is a text.
    Auto,
    /// Every line is the path of an image.
    Image,
    /// Every line is a text.
    Text,
}

pub enum Input {
    Text(String),
    Image(PathBuf),
}

impl Input {
    /// As the user gave it.
    pub fn name(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Image(path) => path.display().to_string(),
        }
    }

    /// # Errors
    /// `io` for a file that cannot be read, and those of the encoder.
    pub fn embed(
        &self,
        encoder: &ClipEncoder,
        options: DecodeOptions,
        normalize: bool,
    ) -> Result<Embedding> {
        match self {
            Self::Text(text) => encoder.embed_text(text, normalize),
            Self::Image(path) => {
                let named = |error: Error| error.context(path.display());
                let bytes = fs::read(path).map_err(|error| named(error.into()))?;
                encoder.embed_image_with(&bytes, options, normalize).map_err(named)
            }
        }
    }
}

/// A line of stdin: what it says, or why that is no input.
pub struct Line {
    /// The line itself, as far as it is UTF-8.
    pub text: String,
    pub input: Result<Input>,
}

/// The lines of a stream, each as soon as it has arrived. Empty lines are texts too, so that every line of
/// the input has one of the output. Ends with the error of a stream that cannot be read.
pub fn lines(mut stream: impl BufRead, kind: Lines) -> impl Iterator<Item = Result<Line>> {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let line = next_line(&mut stream, kind).transpose()?;
        ended = line.is_err();
        Some(line)
    })
}

fn next_line(stream: &mut impl BufRead, kind: Lines) -> Result<Option<Line>> {
    let mut bytes = Vec::new();
    if stream.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let is_whole = bytes.last() == Some(&b'\n') || (bytes.len() as u64) < LONGEST_LINE;
    if !is_whole {
        while skip_part(stream)? {}
        let text = String::from_utf8_lossy(&bytes[..80]).into_owned();
        let message = format!("the line has more than {LONGEST_LINE} bytes; shorten it");
        return Ok(Some(Line { text, input: Err(Error::new(ErrorKind::LimitExceeded, message)) }));
    }
    while let Some(b'\n' | b'\r') = bytes.last() {
        bytes.pop();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(Line { text, input: input_of(bytes, kind) }))
}

/// Skips what has arrived of a line that is too long. Returns whether the line goes on.
fn skip_part(stream: &mut impl BufRead) -> Result<bool> {
    let buffer = stream.fill_buf()?;
    let newline = buffer.iter().position(|byte| *byte == b'\n');
    let length = newline.map_or(buffer.len(), |at| at + 1);
    stream.consume(length);
    Ok(length > 0 && newline.is_none())
}

fn input_of(bytes: Vec<u8>, kind: Lines) -> Result<Input> {
    let is_image = match kind {
        Lines::Image => true,
        Lines::Text => false,
        Lines::Auto => is_image(&bytes)?,
    };
    if is_image {
        return Ok(Input::Image(path_of(bytes)?));
    }
    String::from_utf8(bytes)
        .map(Input::Text)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the text is not UTF-8; convert it first"))
}

fn is_image(bytes: &[u8]) -> Result<bool> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(true); // a text is UTF-8, a path need not be
    };
    if text.starts_with("http://") || text.starts_with("https://") {
        let message =
            "the line is an address, which is not fetched: download the image, and give its path";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let path = Path::new(text);
    let extension =
        path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    let is_named_so = extension.is_some_and(|it| IMAGE_EXTENSIONS.contains(&it.as_str()));
    let is_sentence = text.contains(char::is_whitespace) && !text.contains(['/', '\\']);
    Ok((is_named_so && !is_sentence) || path.is_file())
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf> {
    String::from_utf8(bytes)
        .map(PathBuf::from)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the path is not UTF-8; rename the file"))
}
