//! Decoding options where the references disagree, for callers who do not want the default.

use crate::error::{Error, ErrorKind, Result};

/// How an image file is read. The default is what Pillow's `convert("RGB")` returns after `exif_transpose`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What to do with the orientation that the file states.
    pub orientation: Orientation,
    /// What to do with transparency.
    pub alpha: Alpha,
}

/// Whether an image is turned upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// Turned as its Exif data or its XMP packet states: Pillow with `ImageOps.exif_transpose`.
    #[default]
    Exif,
    /// Left as stored: Pillow without it, as OpenAI's own examples open images. A TIFF is turned all the
    /// same, because Pillow turns it on opening.
    Ignore,
}

/// What to do with transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// Alpha is dropped, which shows the colour of transparent pixels: Pillow's `convert("RGB")`.
    #[default]
    Drop,
    /// The image is composited over white: Pillow's `alpha_composite`.
    White,
    /// The image is composited over black.
    Black,
}

impl Orientation {
    /// Parses `exif` or `ignore`.
    ///
    /// # Errors
    /// `invalid_input` for any other name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "exif" => Ok(Self::Exif),
            "ignore" => Ok(Self::Ignore),
            _ => Err(Error::new(ErrorKind::InvalidInput, "the orientation must be exif or ignore")),
        }
    }
}

impl Alpha {
    /// Parses `drop`, `white` or `black`.
    ///
    /// # Errors
    /// `invalid_input` for any other name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "drop" => Ok(Self::Drop),
            "white" => Ok(Self::White),
            "black" => Ok(Self::Black),
            _ => Err(Error::new(ErrorKind::InvalidInput, "alpha must be drop, white or black")),
        }
    }

    /// The value of every channel of the background.
    pub(super) fn background(self) -> Option<u8> {
        match self {
            Self::Drop => None,
            Self::White => Some(255),
            Self::Black => Some(0),
        }
    }
}
