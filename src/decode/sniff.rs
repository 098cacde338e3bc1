//! Detects the image format of a file from its content.

use std::fmt;

use super::bmp;
use crate::error::{Error, ErrorKind, Result};

/// A supported format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

/// The format of the bytes, or an error that says what they are instead.
pub(super) fn format_of(bytes: &[u8]) -> Result<Format> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Format::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        // The version in the wrong byte order, which PIL accepts too.
        [b'I', b'I', 0, 42, ..] | [b'M', b'M', 42, 0, ..] => Ok(Format::Tiff),
        _ if is_bmp(bytes) || bmp::is_bare(bytes) => Ok(Format::Bmp),
        _ => Err(not_decoded(bytes)),
    }
}

/// Many a text starts with "BM", so the size of the header that follows must be a known one.
fn is_bmp(bytes: &[u8]) -> bool {
    let header_size = bytes.get(14..18).and_then(|size| size.try_into().ok());
    bytes.starts_with(b"BM")
        && matches!(
            header_size.map(u32::from_le_bytes),
            Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124)
        )
}

fn not_decoded(bytes: &[u8]) -> Error {
    let message = if bytes.is_empty() {
        "the image file is empty; choose another one or download it again".to_owned()
    } else if let Some(format) = foreign_format(bytes) {
        format!("{format} images are not supported; save the image as PNG or JPEG")
    } else {
        format!("this is {}, not an image; pass a JPEG, PNG, WebP, GIF, BMP or TIFF", guess(bytes))
    };
    Error::new(ErrorKind::UnsupportedImage, message)
}

/// Image formats that are not supported.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    let text = text_start(bytes);
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', rest @ ..] => brand_format(bytes, rest),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => {
            Some("JPEG 2000")
        }
        [0, 0, 1 | 2, 0, count, 0, ..] if *count > 0 => Some("ICO"),
        [b'8', b'B', b'P', b'S', ..] => Some("Photoshop"),
        [b'q', b'o', b'i', b'f', ..] => Some("QOI"),
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..] => Some("PNM"),
        _ if text.starts_with("<svg") => Some("SVG"),
        _ if text.starts_with("<?xml") && text.contains("<svg") => Some("SVG"),
        _ => None,
    }
}

/// ISO base media files name their kind in the `ftyp` box: a major brand and compatible ones.
fn brand_format(bytes: &[u8], brands: &[u8]) -> Option<&'static str> {
    let size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let brands = &brands[..brands.len().min(size.saturating_sub(8)).min(256)];
    let has =
        |names: &[&[u8; 4]]| brands.as_chunks::<4>().0.iter().any(|brand| names.contains(&brand));
    // The structural brands mif1 and msf1 occur in files of both kinds, so AVIF is checked first.
    if has(&[b"avif", b"avis"]) {
        Some("AVIF")
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        Some("HEIC/HEIF")
    } else {
        None
    }
}

/// What the bytes are, if they are not an image.
fn guess(bytes: &[u8]) -> &'static str {
    let text = text_start(bytes);
    match bytes {
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [b'P', b'K', 3 | 5, ..] => "a zip archive",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF model",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a video",
        [b'R', b'I', b'F', b'F', ..] | [0x1a, 0x45, 0xdf, 0xa3, ..] => "sound or video",
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => "an HTML page",
        _ if text.starts_with("version https://git-lfs") => "a Git LFS pointer",
        _ if text.starts_with('<') || text.starts_with('{') => "text",
        _ if is_text(bytes) => "text",
        _ => "unknown data",
    }
}

/// The start of the bytes as lower-case text, without the byte order mark and leading space.
fn text_start(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    start.trim_start_matches('\u{feff}').trim_start().to_owned()
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(1024)];
    start.iter().all(|&byte| byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t'))
}
