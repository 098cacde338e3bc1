//! What `embed` is to embed: the options `--text` and `--image`, and the lines of stdin.

use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::{Limit, Limits};

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
    /// Files and http(s) addresses are images, folders are errors, and everything else is a text.
    Auto,
    /// Every line is the path or the address of an image.
    Image,
    /// Every line is a text.
    Text,
}

pub enum Input {
    Text(String),
    Image(PathBuf),
    /// The address of an image.
    Address(String),
}

impl Input {
    /// An image, by its path or its address.
    pub fn image(path: PathBuf) -> Self {
        match path.to_str().filter(|text| is_address(text)) {
            Some(address) => Self::Address(address.into()),
            None => Self::Image(path),
        }
    }

    /// As the user gave it.
    pub fn name(&self) -> String {
        match self {
            Self::Text(text) | Self::Address(text) => text.clone(),
            Self::Image(path) => path.display().to_string(),
        }
    }

    /// Reads an image's file, or fetches it.
    ///
    /// # Errors
    /// `io` for a file that cannot be read, `invalid_input` for a folder, and those of [`fetch`].
    pub fn read(self, limits: &Limits) -> Result<Content> {
        let name = self.name();
        Ok(match self {
            Self::Text(text) => Content::Text(text),
            Self::Address(url) => Content::Image { bytes: fetch(&url, limits)?, name },
            Self::Image(path) => {
                let bytes = read_image(&path, limits).map_err(|error| error.context(&name))?;
                Content::Image { bytes, name }
            }
        })
    }
}

/// A file's bytes, if they are within the limit: files are read ahead, so that several are in memory.
fn read_image(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    if path.is_dir() {
        let message = "this is a folder: give it with --image, or give its files, as `find FOLDER -type f` lists them";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut bytes = Vec::new();
    let most = limits.get(Limit::ImageBytes).saturating_add(1);
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    limits.check(Limit::ImageBytes, bytes.len() as u64)?;
    Ok(bytes)
}

/// An input that has been read.
pub enum Content {
    Text(String),
    /// An image's file.
    Image {
        name: String,
        bytes: Vec<u8>,
    },
}

/// The images that a path or an address stands for: itself, or those in a folder and its folders, by their extensions,
/// in the order of their names. Hidden ones are left out.
///
/// # Errors
/// `io` for a folder that cannot be read, `empty_input` for one without images.
pub fn images_at(path: PathBuf) -> Result<Vec<Input>> {
    if !path.is_dir() {
        return Ok(vec![Input::image(path)]);
    }
    let mut images = Vec::new();
    images_in(&path, &mut images)?;
    if images.is_empty() {
        let message = format!("{} has no image files", path.display());
        return Err(Error::new(ErrorKind::EmptyInput, message));
    }
    Ok(images.into_iter().map(Input::Image).collect())
}

fn images_in(folder: &Path, images: &mut Vec<PathBuf>) -> Result<()> {
    let named = |error: std::io::Error| Error::from(error).context(folder.display());
    let entries = fs::read_dir(folder).map_err(named)?;
    let mut entries: Vec<_> = entries.collect::<std::io::Result<_>>().map_err(named)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue; // hidden, such as the descriptions that macOS puts beside files
        }
        // A link to a folder is left out: it may lead in a circle.
        if entry.file_type().map_err(named)?.is_dir() {
            images_in(&path, images)?;
        } else if is_named_as_image(&path) && path.is_file() {
            images.push(path);
        }
    }
    Ok(())
}

fn is_named_as_image(path: &Path) -> bool {
    let extension =
        path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    extension.is_some_and(|extension| IMAGE_EXTENSIONS.contains(&extension.as_str()))
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
        Lines::Auto => is_image(&bytes),
    };
    if is_image {
        let path = path_of(bytes)?;
        // Reading it could wait for ever, and who lists files seldom means it.
        if matches!(kind, Lines::Auto) && path.exists() && !path.is_file() && !path.is_dir() {
            let message = "this is a device or a pipe: with --lines image it is read, with --lines text it is a text";
            let error = Error::new(ErrorKind::InvalidInput, message);
            return Err(error.context(path.display()));
        }
        return Ok(Input::image(path));
    }
    String::from_utf8(bytes)
        .map(Input::Text)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the text is not UTF-8; convert it first"))
}

fn is_image(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return true; // a text is UTF-8, a path need not be
    };
    if is_address(text) {
        return true;
    }
    let path = Path::new(text);
    let is_sentence = text.contains(char::is_whitespace) && !text.contains(['/', '\\']);
    // A folder cannot be read, but its path must not be embedded as a text either.
    (is_named_as_image(path) && !is_sentence) || path.exists()
}

fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

#[cfg(feature = "hub")]
fn fetch(url: &str, limits: &Limits) -> Result<Vec<u8>> {
    crate::web::image(url, limits)
}

#[cfg(not(feature = "hub"))]
fn fetch(url: &str, _: &Limits) -> Result<Vec<u8>> {
    let message = format!(
        "{url} is an address, which a program without the feature `hub` does not fetch: install it with \
         `--features hub`, or download the image, and give its path"
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
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
